"""The life of a card in the users CRM, seen from Koshelek's side: told, found, blocked, replaced.

Three CRMs over real sockets: the schema of the PostgreSQL driver, a shop's own database through its SQL
files, and the stand-in of Perx.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import structlog
from pydantic import SecretStr

from adapter.errors import Code
from adapter.loyalty.crm_cards import CrmCards
from adapter.loyalty.model import Card, OperationKind, OperationState
from adapter.loyalty.numbers import range_number
from adapter.loyalty.replacing import CannotReplace, replace_card
from contracts.sandbox import Sandbox, perx, running
from crm_backends.model import CrmCard
from crm_backends.ports import BackendUnavailable, Deadline

from .conftest import RANGE, Adapter, StartAdapter, new_phone

ANONYMOUS = "/v1/card/anonymous"
QR = "/v1/promo/qrCode"
PROMO = "/v1/promo/code"
DELIVERY = {"retry_first": 0.05, "reconcile_after": 0.2, "call_timeout": 2.0}


async def state_of(adapter: Adapter, number: str) -> str:
    """State of a card as its info shows it."""
    answer = await adapter.get(f"/v1/card/{number}")
    assert answer.status == 200, answer
    assert answer.body["card"]["cardNumber"] == number
    return str(answer.body["card"]["cardState"])


async def delivered(adapter: Adapter) -> None:
    """Wait until nothing is on its way to a CRM."""
    for _ in range(500):
        if not await adapter.sql(
            "SELECT count(*) FROM koshelek.operations WHERE state IN ('recorded', 'sent', 'unknown')"
        ):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("something is still on its way")


async def found(adapter: Adapter, phone: str) -> str | None:
    answer = await adapter.get("/v1/card", msisdn=phone)
    assert answer.status == 200, answer
    return None if answer.body is None else str(answer.body["card"]["cardNumber"])


async def metric(adapter: Adapter, line: str) -> bool:
    return line in (await adapter.service.metrics.exposition()).decode().splitlines()


# -- the CRM is told -----------------------------------------------------------------------------------


async def test_a_till_finds_the_customer_by_the_card_that_was_issued(start: StartAdapter) -> None:
    adapter = await start(cards={"barcode_type": "EAN_13"}, delivery=DELIVERY)
    number = await adapter.issue(phone="79161112233")
    await delivered(adapter)
    assert (
        await adapter.sql("SELECT phone FROM crm.customers WHERE card_number = $1", number) == "+79161112233"
    )
    row = await adapter.service.pool.fetchrow("SELECT * FROM crm.cards WHERE number = $1", number)
    assert row is not None
    assert (row["barcode"], row["barcode_type"], row["state"]) == (number, "EAN_13", "active")


async def test_the_crm_is_told_once_however_often_the_card_is_issued(adapter: Adapter) -> None:
    for _ in range(2):
        await asyncio.gather(*[adapter.issue(phone="79161112233") for _ in range(5)])
        await delivered(adapter)
    told = await adapter.service.pool.fetch("SELECT kind, state FROM koshelek.operations WHERE kind = 'card'")
    assert [tuple(row) for row in told] == [(OperationKind.CARD, OperationState.DONE)]


async def test_a_card_that_came_from_the_crm_is_not_told_again(adapter: Adapter) -> None:
    await adapter.register(phone="+79161112233")
    await adapter.sql("UPDATE crm.customers SET card_number = 'OLD-77'")
    assert await adapter.issue(phone="79161112233") == "OLD-77"
    assert await adapter.sql("SELECT count(*) FROM koshelek.operations WHERE kind = 'card'") == 0


async def test_what_the_till_decided_meanwhile_is_not_overwritten_and_wins(start: StartAdapter) -> None:
    adapter = await start(delivery={**DELIVERY, "in_process": False})
    await adapter.register(phone="+79161112233")
    number = await adapter.issue(phone="79161112233")
    await adapter.sql("UPDATE crm.customers SET card_number = 'TILL-1'")
    deliverer = await start(delivery=DELIVERY)
    await delivered(deliverer)
    assert await adapter.sql("SELECT state FROM koshelek.operations WHERE kind = 'card'") == "refused"
    assert await adapter.sql("SELECT card_number FROM crm.customers") == "TILL-1"
    assert await found(adapter, "79161112233") == "TILL-1"
    assert await state_of(adapter, number) == "inactive"


# -- plastic -------------------------------------------------------------------------------------------


async def test_plastic_that_only_the_crm_knows_is_shown_and_issued_to_who_types_it(adapter: Adapter) -> None:
    await adapter.sql(
        "INSERT INTO crm.cards (number, barcode, barcode_type) VALUES ('P-1', '4006381333931', 'EAN_13')"
    )
    card = (await adapter.get("/v1/card/P-1")).body["card"]
    assert (card["cardNumber"], card["cardState"]) == ("P-1", "inactive")
    assert card["barcode"] == {"barcodeNumber": "4006381333931", "barcodeType": "EAN_13"}
    assert (await adapter.post(f"{ANONYMOUS}/P-1", {"phone": "79161112233"})).status == 200
    assert await found(adapter, "79161112233") == "P-1"
    await delivered(adapter)
    assert await adapter.sql("SELECT card_number FROM crm.customers") == "P-1"


async def test_plastic_can_be_issued_without_being_looked_at_before(adapter: Adapter) -> None:
    await adapter.sql("INSERT INTO crm.cards (number) VALUES ('P-1')")
    assert (await adapter.post(f"{ANONYMOUS}/P-1", {"phone": "79161112233"})).status == 200
    assert await state_of(adapter, "P-1") == "active"


async def test_a_card_that_is_somebodys_in_the_crm_is_shown_as_theirs_and_goes_to_nobody_else(
    adapter: Adapter,
) -> None:
    await adapter.register(phone="+79161112233")
    await adapter.sql("UPDATE crm.customers SET card_number = 'P-1'")
    stranger = await adapter.post(f"{ANONYMOUS}/P-1", {"phone": new_phone()})
    assert stranger.code == Code.NUMBER_USED
    assert await adapter.sql("SELECT count(*) FROM crm.customers") == 1
    assert await state_of(adapter, "P-1") == "active"
    assert (await adapter.post(f"{ANONYMOUS}/P-1", {"phone": "79161112233"})).status == 200


async def test_plastic_of_the_registry_that_the_crm_has_given_away_meanwhile_goes_to_nobody_else(
    adapter: Adapter,
) -> None:
    number = await adapter.plastic(77)
    await adapter.register(phone="+79161112233")
    await adapter.sql("UPDATE crm.customers SET card_number = $1", number)
    answer = await adapter.post(f"{ANONYMOUS}/{number}", {"phone": new_phone()})
    assert answer.code == Code.NUMBER_USED
    assert await state_of(adapter, number) == "active"


async def test_a_number_that_the_crm_knows_is_not_handed_out(adapter: Adapter) -> None:
    reference = await adapter.register(phone="+79161112233")
    first, second, third, fourth, fifth = (range_number(RANGE, value) for value in range(1, 6))
    await adapter.sql(
        "INSERT INTO crm.cards (number, state) VALUES ($1, 'active'), ($2, 'blocked')", first, second
    )
    await adapter.sql("UPDATE crm.customers SET card_number = $1", third)
    pool = await adapter.plastic(900, "free")
    await adapter.sql("INSERT INTO crm.cards (number, state, replaced_by) VALUES ($1, 'replaced', 'x')", pool)
    assert await adapter.reserve() == fourth
    assert await adapter.issue(phone=new_phone()) == fifth
    rows = await adapter.service.pool.fetch("SELECT number, state, users_reference FROM koshelek.cards")
    assert {
        row["number"]: (row["state"], row["users_reference"]) for row in rows if row["number"] < fourth
    } == {
        first: ("ownerless", None),
        second: ("blocked", None),
        third: ("active", reference),
    }
    assert (await adapter.post(f"{ANONYMOUS}/{second}", {"phone": new_phone()})).code == Code.CARD_BLOCKED


async def test_a_range_that_is_all_the_crms_ends_with_no_numbers(adapter: Adapter) -> None:
    await adapter.service.pool.executemany(
        "INSERT INTO crm.cards (number) VALUES ($1)",
        [(range_number(RANGE, value),) for value in range(1, 61)],
    )
    assert (await adapter.get(ANONYMOUS)).code == Code.NO_NUMBERS
    assert await adapter.reserve() == range_number(RANGE, 61)


async def test_fifty_parallel_issues_for_one_person_leave_no_number_behind(adapter: Adapter) -> None:
    numbers = await asyncio.gather(*[adapter.issue(phone="79161112233") for _ in range(50)])
    assert len(set(numbers)) == 1
    assert await adapter.sql("SELECT count(*) FROM koshelek.cards WHERE state = 'reserved'") == 0


def without_answer(adapter: Adapter, tells_state: bool = True) -> None:
    """Make the CRM fail to answer about cards, and about nothing else."""

    async def ask(number: str, deadline: Deadline) -> CrmCard | None:
        raise BackendUnavailable("away")

    service = adapter.service
    asked = CrmCards(ask, lambda: tells_state)
    programme = dataclasses.replace(service.programme, crm_cards=asked)
    for name in (field.name for field in dataclasses.fields(programme)):
        object.__setattr__(service.programme, name, getattr(programme, name))


async def test_while_the_crm_does_not_answer_no_number_is_handed_out_and_cards_stay_as_they_are(
    adapter: Adapter,
) -> None:
    number = await adapter.issue(phone="79161112233")
    without_answer(adapter)
    assert (await adapter.get(ANONYMOUS)).code == Code.CRM_DOWN
    assert (await adapter.post(ANONYMOUS, {"phone": new_phone()})).code == Code.CRM_DOWN
    assert (await adapter.get("/v1/card/nobodys")).code == Code.CRM_DOWN
    assert await adapter.sql("SELECT count(*) FROM koshelek.cards WHERE state = 'reserved'") == 0
    assert await state_of(adapter, number) == "active"
    answer = await adapter.post(QR, {"cardNumber": number, "qrCode": adapter.qr()})
    assert answer.status == 200
    assert await adapter.issue(phone="79161112233") == number


async def test_a_crm_that_is_slow_with_cards_does_not_make_everybody_wait() -> None:
    asked = 0

    async def ask(number: str, deadline: Deadline) -> CrmCard | None:
        nonlocal asked
        asked += 1
        assert deadline.optional  # so that being cut short does not open the breaker
        await asyncio.sleep(60)
        return None

    crm = CrmCards(ask, lambda: True)
    for _ in range(5):
        began = time.monotonic()
        with pytest.raises(BackendUnavailable):
            await crm.says_quickly("1", Deadline.after(0.2))
        assert time.monotonic() - began < 1
    assert asked == 1


async def test_a_number_nobody_knows_is_asked_about_once_in_a_while(adapter: Adapter) -> None:
    asked: list[str] = []
    real = adapter.service.programme.crm_cards
    assert real is not None

    async def ask(number: str, deadline: Deadline) -> CrmCard | None:
        asked.append(number)
        return None

    object.__setattr__(adapter.service.programme, "crm_cards", CrmCards(ask, real.tells_state))
    for _ in range(10):
        assert (await adapter.get("/v1/card/nobodys")).code == Code.CARD_UNKNOWN
    assert asked == ["nobodys"]


# -- blocked -------------------------------------------------------------------------------------------


async def set_state(adapter: Adapter, number: str, state: str) -> None:
    await adapter.sql(
        "INSERT INTO crm.cards (number, state) VALUES ($1, $2)"
        " ON CONFLICT (number) DO UPDATE SET state = EXCLUDED.state, replaced_by = NULL",
        number,
        state,
    )


async def test_a_card_that_is_blocked_in_the_crm_is_blocked_at_the_next_call(adapter: Adapter) -> None:
    number = await adapter.issue(phone="79161112233")
    await delivered(adapter)
    assert await state_of(adapter, number) == "active"
    await set_state(adapter, number, "blocked")
    calls = [
        adapter.post(QR, {"cardNumber": number, "qrCode": adapter.qr()}),
        adapter.post(PROMO, {"cardNumber": number, "code": "WELCOME"}),
        adapter.get("/v1/card", msisdn="79161112233"),
        adapter.post(ANONYMOUS, {"phone": "79161112233"}),
        adapter.post(f"{ANONYMOUS}/{number}", {"phone": "79161112233"}),
    ]
    for call in calls:
        assert (await call).code == Code.CARD_BLOCKED
    assert await state_of(adapter, number) == "inactive"
    await set_state(adapter, number, "active")
    assert await found(adapter, "79161112233") == number
    assert await state_of(adapter, number) == "active"


@pytest.mark.parametrize("by_find", [True, False])
async def test_card_info_alone_learns_of_a_block_and_of_its_end(adapter: Adapter, by_find: bool) -> None:
    number = await adapter.issue(phone="79161112233")
    await delivered(adapter)
    await set_state(adapter, number, "blocked")
    assert await state_of(adapter, number) == "inactive"
    assert await adapter.sql("SELECT state FROM koshelek.cards") == "blocked"
    await set_state(adapter, number, "active")
    if by_find:
        assert await found(adapter, "79161112233") == number
    assert await state_of(adapter, number) == "active"


async def test_what_a_person_blocked_here_stays_blocked_whatever_the_crm_says(adapter: Adapter) -> None:
    number = await adapter.issue(phone="79161112233")
    await delivered(adapter)
    for before in ("active", "blocked"):
        await set_state(adapter, number, before)
        await adapter.get(f"/v1/card/{number}")
        await adapter.service.cards.block(number)
        await set_state(adapter, number, "active")
        assert (await adapter.get("/v1/card", msisdn="79161112233")).code == Code.CARD_BLOCKED
        assert await state_of(adapter, number) == "inactive"
        await adapter.service.cards.unblock(number)
        assert await state_of(adapter, number) == "active"


async def test_a_card_inactive_in_the_crm_takes_part_in_nothing_until_it_is_active_again(
    adapter: Adapter,
) -> None:
    number = await adapter.issue(phone="79161112233")
    await delivered(adapter)
    await set_state(adapter, number, "inactive")
    assert await found(adapter, "79161112233") == number
    assert await state_of(adapter, number) == "inactive"
    answer = await adapter.post(QR, {"cardNumber": number, "qrCode": adapter.qr()})
    assert answer.code == Code.CARD_NOT_ACTIVE
    await set_state(adapter, number, "active")
    assert await state_of(adapter, number) == "active"


async def test_who_has_a_blocked_card_in_the_crm_alone_gets_no_other(adapter: Adapter) -> None:
    await adapter.register(phone="+79161112233")
    await adapter.sql("UPDATE crm.customers SET card_number = 'P-1'")
    await set_state(adapter, "P-1", "blocked")
    assert (await adapter.post(ANONYMOUS, {"phone": "79161112233"})).code == Code.CARD_BLOCKED
    assert (await adapter.get("/v1/card", msisdn="79161112233")).code == Code.CARD_BLOCKED
    assert await state_of(adapter, "P-1") == "inactive"
    number = await adapter.reserve()
    assert (await adapter.post(f"{ANONYMOUS}/{number}", {"phone": "79161112233"})).code == Code.CARD_BLOCKED


# -- replaced ------------------------------------------------------------------------------------------


async def replaced_at_the_till(adapter: Adapter, number: str, by: str) -> None:
    await adapter.sql("UPDATE crm.customers SET card_number = $2 WHERE card_number = $1", number, by)


@pytest.mark.parametrize("seen_by", ["find", "info", "issue"])
@pytest.mark.parametrize("answer", ["inactive", "unknown"])
async def test_a_card_replaced_in_the_crm_is_replaced_here(
    start: StartAdapter, seen_by: str, answer: str
) -> None:
    adapter = await start(cards={"replaced_answer": answer}, delivery=DELIVERY)
    old = await adapter.issue(phone="79161112233")
    await adapter.call("PUT", f"/v1/card/{old}/communication", {"allow": ["sms"], "deny": ["call"]})
    await delivered(adapter)
    await replaced_at_the_till(adapter, old, "NEW-1")
    if seen_by == "info":
        await adapter.get(f"/v1/card/{old}")
    elif seen_by == "issue":
        assert await adapter.issue(phone="79161112233") == "NEW-1"
    assert await found(adapter, "79161112233") == "NEW-1"
    assert await state_of(adapter, "NEW-1") == "active"
    consents = await adapter.service.pool.fetch(
        "SELECT channel, allowed FROM koshelek.consents WHERE card_number = 'NEW-1' ORDER BY channel"
    )
    assert [tuple(row) for row in consents] == [("call", False), ("sms", True)]
    receipt = await adapter.post(QR, {"cardNumber": old, "qrCode": adapter.qr()})
    bought = await adapter.get(f"/v1/card/{old}/purchases", startDate="2025-01-01")
    if answer == "inactive":
        assert await state_of(adapter, old) == "inactive"
        assert (receipt.code, bought.body) == (Code.CARD_NOT_ACTIVE, [])
    else:
        assert (await adapter.get(f"/v1/card/{old}")).code == Code.CARD_UNKNOWN
        assert receipt.code == bought.code == Code.CARD_UNKNOWN
    for phone in ("79161112233", new_phone()):
        assert (await adapter.post(f"{ANONYMOUS}/{old}", {"phone": phone})).status == 422
    assert await adapter.issue(phone="79161112233") == "NEW-1"


async def test_a_replacement_that_is_taken_back_in_the_crm_is_taken_back_here(adapter: Adapter) -> None:
    first = await adapter.issue(phone="79161112233")
    await delivered(adapter)
    for now, before in (("B", first), (first, "B"), ("B", first)):
        await replaced_at_the_till(adapter, before, now)
        assert await state_of(adapter, before) == "inactive"
        assert await state_of(adapter, now) == "active"
    await replaced_at_the_till(adapter, "B", first)
    assert await state_of(adapter, first) == "active"
    assert await found(adapter, "79161112233") == first


async def test_a_card_replaced_twice_leads_to_the_last(adapter: Adapter) -> None:
    first = await adapter.issue(phone="79161112233")
    await delivered(adapter)
    await replaced_at_the_till(adapter, first, "B")
    await replaced_at_the_till(adapter, "B", "C")
    assert await state_of(adapter, first) == "inactive"
    assert await found(adapter, "79161112233") == "C"
    assert await state_of(adapter, "B") == "inactive"


async def test_the_owner_of_a_card_blocked_here_is_not_freed_by_a_new_one(adapter: Adapter) -> None:
    old = await adapter.issue(phone="79161112233")
    await delivered(adapter)
    await adapter.service.cards.block(old)
    await replaced_at_the_till(adapter, old, "NEW-1")
    assert (await adapter.get("/v1/card", msisdn="79161112233")).code == Code.CARD_BLOCKED
    assert await state_of(adapter, "NEW-1") == "inactive"


async def test_a_receipt_on_its_way_when_the_card_is_replaced_is_its_owners_all_the_same(
    start: StartAdapter,
) -> None:
    adapter = await start(delivery={**DELIVERY, "in_process": False}, receipts={"wait": 0})
    await adapter.register(phone="+79161112233")
    old = await adapter.issue(phone="79161112233")
    await adapter.sql("UPDATE crm.customers SET card_number = $1", old)
    body = {"qrCode": adapter.qr()}
    assert (await adapter.post(QR, body | {"cardNumber": old})).status == 200
    await replaced_at_the_till(adapter, old, "NEW-1")
    assert await found(adapter, "79161112233") == "NEW-1"
    deliverer = await start(delivery=DELIVERY)
    await delivered(deliverer)
    info = (await adapter.get("/v1/card/NEW-1")).body["card"]
    assert info["bonus"]["total"] == "62"
    # The same receipt again, with the number the person has now, is no receipt of another's.
    assert (await adapter.post(QR, body | {"cardNumber": "NEW-1"})).status == 200


async def test_a_card_in_the_place_of_another_gives_no_coupons_again(start: StartAdapter) -> None:
    adapter = await start(coupons={"card_occasion": "visit"}, delivery=DELIVERY)
    old = await adapter.issue(phone="79161112233")
    await delivered(adapter)
    await replaced_at_the_till(adapter, old, "NEW-1")
    assert await adapter.issue(phone="79161112233") == "NEW-1"
    assert await adapter.sql("SELECT count(*) FROM koshelek.operations WHERE kind = 'coupons'") == 1


async def test_a_number_of_the_crms_that_is_anothers_here_changes_nothing_and_is_told(
    adapter: Adapter,
) -> None:
    taken = await adapter.issue(phone="79161112244")
    old = await adapter.issue(phone="79161112233")
    await delivered(adapter)
    await adapter.sql("UPDATE crm.customers SET card_number = NULL WHERE card_number = $1", taken)
    await adapter.sql("DELETE FROM crm.cards")
    await replaced_at_the_till(adapter, old, taken)
    assert await found(adapter, "79161112233") == old
    assert await metric(adapter, 'koshelek_card_numbers_refused_total{reason="taken"} 1.0')


async def given_to_another(adapter: Adapter, number: str) -> str:
    """The till gives somebody's number to another customer; returns their reference."""
    other = await adapter.register(phone="+79161112244", first_name="Eva")
    await adapter.sql("UPDATE crm.customers SET card_number = NULL WHERE card_number = $1", number)
    await adapter.sql("UPDATE crm.customers SET card_number = $1 WHERE phone = '+79161112244'", number)
    await set_state(adapter, number, "active")
    return other


@pytest.mark.parametrize("joined", [True, False])
async def test_a_card_that_is_another_customers_in_the_crm_serves_neither_of_them(
    start: StartAdapter, joined: bool
) -> None:
    adapter = await start(delivery=DELIVERY)
    number = await adapter.issue(phone="79161112233", firstname="Anna")
    await delivered(adapter)
    body = {"cardNumber": number, "qrCode": adapter.qr()}
    assert (await adapter.post(QR, body)).status == 200
    await delivered(adapter)
    before = (await adapter.get(f"/v1/card/{number}")).body["card"]
    assert before["bonus"]["total"] == "62"
    if not joined:  # asked for each number alone, as every other CRM is
        crm = adapter.service.programme.crm_cards
        assert crm is not None
        crm._joined = None
    await given_to_another(adapter, number)
    with structlog.testing.capture_logs() as logs:
        answer = await adapter.get(f"/v1/card/{number}")
        for call in (
            adapter.post(QR, {"cardNumber": number, "qrCode": adapter.qr()}),
            adapter.post(PROMO, {"cardNumber": number, "promoCode": "SPRING"}),
            adapter.post(f"/v1/card/{number}", {"firstname": "Mallory"}),
            adapter.call("PUT", f"/v1/card/{number}/communication", {"allow": ["sms"], "deny": []}),
            adapter.get(f"/v1/card/{number}/purchases", startDate="2020-01-01"),
            adapter.post(f"{ANONYMOUS}/{number}", {"phone": "79161112244"}),
            adapter.post(f"{ANONYMOUS}/{number}", {"phone": "79161112233"}),
        ):
            assert (await call).code == Code.CARD_NOT_ACTIVE
    card = answer.body["card"]
    assert (card["cardState"], card["bonus"]["total"]) == ("inactive", "0")
    assert not card.get("bonusEntries")
    names = await adapter.service.pool.fetch("SELECT first_name FROM crm.customers ORDER BY phone")
    assert [row[0] for row in names] == ["Anna", "Eva"]
    assert await adapter.sql("SELECT count(*) FROM koshelek.operations WHERE kind = 'receipt'") == 1
    assert await adapter.sql("SELECT count(*) FROM koshelek.consents") == 0
    assert await adapter.sql("SELECT state FROM koshelek.cards") == "active"
    (line,) = [line for line in logs if line["event"] == "card_number_refused"]
    assert (line["reason"], line["card"]) == ("other_owner", f"***{number[-4:]}")
    assert await metric(adapter, 'koshelek_card_numbers_refused_total{reason="other_owner"} 8.0')
    # The CRM names the owner again.
    await adapter.sql("UPDATE crm.customers SET card_number = NULL WHERE phone = '+79161112244'")
    await adapter.sql("UPDATE crm.customers SET card_number = $1 WHERE phone = '+79161112233'", number)
    await set_state(adapter, number, "active")
    assert (await adapter.get(f"/v1/card/{number}")).body["card"] == before


async def test_a_number_in_dispute_is_the_crms_customers_once_its_owner_here_has_another(
    start: StartAdapter,
) -> None:
    adapter = await start(delivery=DELIVERY)
    number = await adapter.issue(phone="79161112233")
    await delivered(adapter)
    other = await given_to_another(adapter, number)
    assert (await adapter.get("/v1/card", msisdn="79161112244")).code == Code.NUMBER_USED
    programme, deadline = adapter.service.programme, Deadline.after(5)
    await replace_card(programme, number, "NEW-1", by="anna", note=None, deadline=deadline)
    await delivered(adapter)
    assert await found(adapter, "79161112233") == "NEW-1"
    assert await found(adapter, "79161112244") == number
    assert await state_of(adapter, number) == "active"
    assert (
        await adapter.sql("SELECT card_number FROM crm.customers WHERE id = $1::bigint", int(other)) == number
    )


async def test_a_shop_that_tells_no_states_keeps_a_person_from_a_card_it_gave_to_another(
    start: StartAdapter, shop: Shop
) -> None:
    adapter = await start(crm=shop.settings(), delivery=DELIVERY)
    number = await adapter.issue(phone="79161112233")
    await delivered(adapter)
    await shop.execute("INSERT INTO kunden (telefon) VALUES ('1112244')")
    await shop.execute("UPDATE karten SET kunde = 2 WHERE nummer = $1", number)
    assert await state_of(adapter, number) == "inactive"
    await shop.execute("UPDATE kunden SET karte = NULL")
    assert (await adapter.get("/v1/card", msisdn="79161112233")).code == Code.NUMBER_USED
    assert await state_of(adapter, number) == "inactive"


async def test_a_person_replaces_a_card_and_the_crm_is_told(adapter: Adapter) -> None:
    async def replace(old: str, new: str) -> Card:
        return await replace_card(
            adapter.service.programme, old, new, by="anna", note=None, deadline=Deadline.after(5)
        )

    old = await adapter.issue(phone="79161112233")
    await adapter.register(phone="+79161112244")
    await delivered(adapter)
    await adapter.sql("UPDATE crm.customers SET card_number = 'THEIRS' WHERE phone = '+79161112244'")
    await adapter.sql("INSERT INTO crm.cards (number, state) VALUES ('BAD', 'blocked'), ('NEW-1', 'active')")
    for number, why in (("THEIRS", "another customer"), ("BAD", "blocked")):
        with pytest.raises(CannotReplace, match=why):
            await replace(old, number)
    # Until the CRM knows, its word on the old number is not taken for another replacement.
    assert (await replace(old, "NEW-1")).users_reference is not None
    assert await found(adapter, "79161112233") == "NEW-1"
    assert await state_of(adapter, old) == "inactive"
    await delivered(adapter)
    assert await adapter.sql("SELECT card_number FROM crm.customers WHERE phone = '+79161112233'") == "NEW-1"
    assert await adapter.sql("SELECT replaced_by FROM crm.cards WHERE number = $1", old) == "NEW-1"
    assert await found(adapter, "79161112233") == "NEW-1"
    assert await state_of(adapter, "NEW-1") == "active"


# -- numbers that a rule forbids -----------------------------------------------------------------------


async def test_a_number_its_barcode_type_cannot_carry_is_shown_with_another_and_told_once_a_minute(
    start: StartAdapter,
) -> None:
    adapter = await start(cards={"barcode_type": "EAN_13"})
    for last in range(3):
        await adapter.register(phone=f"+7916111223{last}")
    await adapter.sql("UPDATE crm.customers SET card_number = '1234567890' || id")
    with structlog.testing.capture_logs() as logs:
        for last in range(3):
            card = (await adapter.get("/v1/card", msisdn=f"7916111223{last}")).body["card"]
            assert card["barcode"] == {"barcodeNumber": card["cardNumber"], "barcodeType": "CODE_128"}
            assert await adapter.issue(phone=f"7916111223{last}") == card["cardNumber"]
    (line,) = [line for line in logs if line["event"] == "card_number_refused"]
    assert (line["reason"], line["length"], line["log_level"]) == ("barcode", 11, "warning")
    assert len(line["card"]) == 7
    assert await metric(adapter, 'koshelek_card_numbers_refused_total{reason="barcode"} 3.0')


@pytest.mark.parametrize(
    ("number", "fallback"), [("12345678901", "none"), ("a/b", "CODE_128"), ("Карта", "CODE_128")]
)
async def test_where_a_card_of_the_crms_cannot_be_shown_nobody_gets_a_second_one(
    start: StartAdapter, number: str, fallback: str
) -> None:
    adapter = await start(cards={"barcode_type": "EAN_13", "barcode_fallback": fallback})
    await adapter.register(phone="+79161112233")
    await adapter.sql("UPDATE crm.customers SET card_number = $1", number)
    reserved = await adapter.reserve()
    for answer in (
        await adapter.get("/v1/card", msisdn="79161112233"),
        await adapter.post(ANONYMOUS, {"phone": "79161112233"}),
        await adapter.post(f"{ANONYMOUS}/{reserved}", {"phone": "79161112233"}),
    ):
        assert answer.code == Code.HAS_ANOTHER_CARD
    assert await metric(adapter, 'koshelek_card_numbers_refused_total{reason="unfit"} 3.0')
    assert await adapter.sql("SELECT count(*) FROM koshelek.cards WHERE state = 'active'") == 0


async def test_a_number_that_two_customers_have_in_the_crm_is_the_firsts_and_the_second_gets_none(
    start: StartAdapter, fresh_database: str, tmp_path: Path
) -> None:
    shop = await Shop.open(fresh_database, tmp_path)
    await shop.execute("INSERT INTO kunden (telefon, karte) VALUES ('1112233', 'F-1'), ('1112244', 'F-1')")
    adapter = await start(crm=shop.settings())
    assert await found(adapter, "79161112233") == "F-1"
    assert (await adapter.get("/v1/card", msisdn="79161112244")).code == Code.NUMBER_USED
    assert (await adapter.post(ANONYMOUS, {"phone": "79161112244"})).code == Code.NUMBER_USED
    assert await found(adapter, "79161112233") == "F-1"
    await shop.close()


# -- a shop's own database -----------------------------------------------------------------------------

TABLES = """
CREATE TABLE kunden (nr serial PRIMARY KEY, telefon text UNIQUE, karte char(16));
CREATE TABLE karten (nummer char(16) PRIMARY KEY, kunde int, zustand text DEFAULT 'active', nachfolger text);
"""
FILES = {
    "users_find": "SELECT nr AS reference, '+7916' || telefon AS phone, karte AS card_number FROM kunden"
    " WHERE '+7916' || telefon = :phone",
    "users_get": "SELECT nr AS reference, '+7916' || telefon AS phone, karte AS card_number FROM kunden"
    " WHERE nr = :customer::int",
    "users_register": "INSERT INTO kunden (telefon) VALUES (substr(:phone, 6)) RETURNING nr AS reference",
    "users_update": "SELECT nr AS reference FROM kunden WHERE nr = :customer::int",
    "points_account": "SELECT :users_reference AS account",
    "points_balance": "SELECT 0::numeric AS total, 0::numeric AS available WHERE :account <> ''",
    "points_entries": "SELECT 0::numeric AS amount, '' AS description, now() AS at WHERE :account = ''",
}
CARD_FILES = {
    "users_find_by_card": """
        SELECT zustand AS state, nachfolger AS replaced_by, nr AS reference, '+7916' || telefon AS phone
        FROM karten LEFT JOIN kunden ON nr = kunde WHERE nummer = :number""",
    "users_set_card": """
        WITH neu AS (
            INSERT INTO karten (nummer, kunde) SELECT :number, nr FROM kunden WHERE nr = :customer::int
               AND coalesce(karte, :number) IN (:number, :replaces)
            ON CONFLICT (nummer) DO UPDATE SET kunde = EXCLUDED.kunde
                WHERE coalesce(karten.kunde, EXCLUDED.kunde) = EXCLUDED.kunde RETURNING kunde
        ), kunde AS (UPDATE kunden SET karte = :number FROM neu WHERE nr = neu.kunde)
        SELECT nr AS reference, CASE WHEN EXISTS (SELECT FROM neu) THEN 'done' ELSE 'conflict' END AS outcome
        FROM kunden WHERE nr = :customer::int""",
}


class Shop:
    """A database the driver has never seen, and the SQL files for it. Its find tells no state of a card."""

    def __init__(self, connection: Any, url: str, folder: Path) -> None:
        self._connection = connection
        self._url = url
        self._folder = folder

    @classmethod
    async def open(cls, url: str, folder: Path, *, cards: bool = False) -> Shop:
        connection = await asyncpg.connect(url)
        await connection.execute(TABLES)
        for name, sql in {**FILES, **(CARD_FILES if cards else {})}.items():
            (folder / f"{name}.sql").write_text(sql, encoding="utf-8")
        return cls(connection, url, folder)

    def settings(self) -> dict[str, Any]:
        return {
            "users": {"driver": "postgres", "url": SecretStr(self._url), "sql_dir": str(self._folder)},
            "points": {"driver": "postgres", "url": SecretStr(self._url), "sql_dir": str(self._folder)},
        }

    async def execute(self, sql: str, *arguments: Any) -> Any:
        return await self._connection.fetchval(sql, *arguments)

    async def close(self) -> None:
        await self._connection.close()


@pytest.fixture
async def shop(fresh_database: str, tmp_path: Path) -> AsyncIterator[Shop]:
    shop = await Shop.open(fresh_database, tmp_path, cards=True)
    yield shop
    await shop.close()


async def test_the_whole_life_of_a_card_in_a_shops_own_database(start: StartAdapter, shop: Shop) -> None:
    adapter = await start(crm=shop.settings(), delivery=DELIVERY)
    first, second, third = (range_number(RANGE, value) for value in (1, 2, 3))
    await shop.execute("INSERT INTO karten (nummer) VALUES ($1), ('PLASTIC-1')", first)

    # Told to the shop; a number that is plastic there is passed over.
    assert await adapter.issue(phone="79161112233") == second
    await delivered(adapter)
    assert await shop.execute(
        "SELECT telefon FROM karten JOIN kunden ON nr = kunde WHERE nummer = $1", second
    ) == ("1112233")
    # Plastic of the shop's becomes somebody's.
    assert await state_of(adapter, "PLASTIC-1") == "inactive"
    assert (await adapter.post(f"{ANONYMOUS}/PLASTIC-1", {"phone": "79161112244"})).status == 200
    await delivered(adapter)
    assert await shop.execute("SELECT karte FROM kunden WHERE telefon = '1112244'") == "PLASTIC-1".ljust(16)
    # Blocked and free again, although find tells no states.
    await shop.execute("UPDATE karten SET zustand = 'blocked' WHERE nummer = $1", second)
    assert (await adapter.get("/v1/card", msisdn="79161112233")).code == Code.CARD_BLOCKED
    assert (await adapter.post(ANONYMOUS, {"phone": "79161112233"})).code == Code.CARD_BLOCKED
    await shop.execute("UPDATE karten SET zustand = 'active' WHERE nummer = $1", second)
    assert await found(adapter, "79161112233") == second
    # Replaced: told by the old card, before the shop's customer names the new one.
    await shop.execute("INSERT INTO karten (nummer, kunde) VALUES ('NEW-1', 1)")
    await shop.execute(
        "UPDATE karten SET zustand = 'replaced', nachfolger = 'NEW-1' WHERE nummer = $1", second
    )
    assert await state_of(adapter, second) == "inactive"
    assert await state_of(adapter, "NEW-1") == "active"
    await shop.execute("UPDATE kunden SET karte = 'NEW-1' WHERE nr = 1")
    assert await found(adapter, "79161112233") == "NEW-1"
    assert await adapter.reserve() == third


@pytest.mark.parametrize("answer", ["inactive", "unknown"])
async def test_an_old_number_nobody_asked_for_before_answers_as_replaced_cards_do(
    start: StartAdapter, shop: Shop, answer: str
) -> None:
    cards = {"replaced_answer": answer, "barcode_type": "EAN_13"}
    adapter = await start(crm=shop.settings(), delivery=DELIVERY, cards=cards)
    number = await adapter.issue(phone="79161112233")
    await delivered(adapter)
    await shop.execute("INSERT INTO karten (nummer, kunde) VALUES ('OLD-1', 1)")
    await shop.execute(
        "UPDATE karten SET zustand = 'replaced', nachfolger = $1 WHERE nummer = 'OLD-1'", number
    )
    with structlog.testing.capture_logs() as logged:
        if answer == "inactive":
            assert await state_of(adapter, "OLD-1") == "inactive"
        else:
            assert (await adapter.get("/v1/card/OLD-1")).code == Code.CARD_UNKNOWN
    said = [line["reason"] for line in logged if line["event"] == "card_number_refused"]
    assert said == (["barcode"] if answer == "inactive" else [])
    assert await found(adapter, "79161112233") == number


async def test_without_the_files_for_cards_a_shops_database_works_as_before(
    start: StartAdapter, fresh_database: str, tmp_path: Path
) -> None:
    shop = await Shop.open(fresh_database, tmp_path)
    adapter = await start(crm=shop.settings(), delivery=DELIVERY)
    number = await adapter.issue(phone="79161112233")
    assert number == range_number(RANGE, 1)
    assert await state_of(adapter, number) == "active"
    assert (await adapter.get("/v1/card/nobodys")).code == Code.CARD_UNKNOWN
    assert await adapter.sql("SELECT count(*) FROM koshelek.operations WHERE kind = 'card'") == 0
    await shop.close()


# -- Perx ----------------------------------------------------------------------------------------------


def perx_settings(sandbox: Sandbox, **more: Any) -> dict[str, Any]:
    return {
        "driver": "perx",
        "base_url": sandbox.base_url,
        "client_id": perx.CLIENT_ID,
        "client_secret": perx.CLIENT_SECRET,
        "loyalty_program_id": perx.LOYALTY_PROGRAM_ID,
        "identifier_secret": "only for tests, and long enough",
        **more,
    }


async def test_perx_keeps_the_number_of_an_issued_card_in_a_property(start: StartAdapter) -> None:
    async with running("perx") as sandbox:
        settings = perx_settings(sandbox, card_property="card_no", barcode_property="card_code")
        adapter = await start(crm=settings, delivery=DELIVERY)
        number = await adapter.issue(phone="79161112233")
        await delivered(adapter)
        stand_in: Any = sandbox.stand_in
        kept = [account.personal_properties for account in stand_in.accounts.values()]
        assert {"card_no": number, "card_code": number} in kept
        assert sandbox.ledger().invalid_calls == []


async def test_a_member_who_is_not_active_in_perx_has_an_inactive_card(start: StartAdapter) -> None:
    async with running("perx") as sandbox:
        membership = {
            "identifier": "membership",
            "merchant_identifier": perx.MERCHANT_IDENTIFIER,
            "send_phone": True,
        }
        adapter = await start(crm=perx_settings(sandbox, **membership), delivery=DELIVERY)
        sandbox.add_customer(identifier="M-100", phone="+79161112233")
        stand_in: Any = sandbox.stand_in
        member = stand_in._by_identifier("M-100")
        assert await found(adapter, "79161112233") == "M-100"
        for told, state in (("inactive", "inactive"), ("active", "active"), ("expire", "inactive")):
            member.membership_state = told
            assert await state_of(adapter, "M-100") == state
        # A member whom nobody has looked for is known by number, and nobody else can have it.
        sandbox.add_customer(identifier="M-101", phone="+79161112244")
        assert await state_of(adapter, "M-101") == "active"
        answer = await adapter.post(f"{ANONYMOUS}/M-101", {"phone": "79161112255"})
        assert answer.code == Code.NUMBER_USED
