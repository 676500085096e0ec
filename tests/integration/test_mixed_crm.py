"""Users, points and coupons in three different CRMs, seen from Koshelek's side and in the CRMs' ledgers."""

from __future__ import annotations

import asyncio
import re
import tomllib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from adapter.errors import Code
from adapter.loyalty.model import OperationKind
from adapter.loyalty.numbers import range_number
from contracts.sandbox import Sandbox, pegke, perx, running, xerts
from crm_backends.ports import Deadline

from .conftest import RANGE, Adapter, StartAdapter, new_phone

QR = "/v1/promo/qrCode"
DELIVERY = {"retry_first": 0.05, "reconcile_after": 0.2, "call_timeout": 2.0}
README = Path(__file__).resolve().parents[2] / "crm_backends" / "README.md"


def readme_example() -> dict[str, dict[str, Any]]:
    """The ``[crm]`` section by which the page about CRMs shows a mix, without what differs for everybody."""
    blocks = re.findall(r"```toml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (crm,) = [tomllib.loads(block)["crm"] for block in blocks if "[crm.coupons]" in block]
    return {
        port: {key: value for key, value in given.items() if value != "…" and not key.endswith("_file")}
        for port, given in crm.items()
    }


@dataclass
class Crms:
    perx: Sandbox
    pegke: Sandbox
    xerts: Sandbox

    def settings(self, *ports: str) -> dict[str, Any]:
        """The ``[crm]`` section that binds these ports to the stand-ins."""
        stand_ins: dict[str, dict[str, Any]] = {
            "users": {
                "base_url": self.perx.base_url,
                "client_id": perx.CLIENT_ID,
                "client_secret": perx.CLIENT_SECRET,
                "loyalty_program_id": perx.LOYALTY_PROGRAM_ID,
                "identifier_secret": "only for tests, and long enough",
            },
            "points": {
                "base_url": self.pegke.base_url + pegke.MERCHANT_PATH,
                "consumer_code": pegke.CONSUMER_CODE,
                "consumer_secret": pegke.CONSUMER_SECRET,
                "country_prefix": "7",
                "history_timezone": "UTC",
                "breaker_pause": 0.2,
            },
            "coupons": {
                "base_url": self.xerts.base_url,
                "api_key": xerts.API_KEY,
                "site": xerts.SITE_ID,
            },
        }
        example = readme_example()
        return {port: example[port] | stand_ins[port] for port in ports}


@pytest.fixture
async def crms() -> AsyncIterator[Crms]:
    async with AsyncExitStack() as stack:
        yield Crms(*[await stack.enter_async_context(running(name)) for name in ("perx", "pegke", "xerts")])


@pytest.fixture
async def adapter(start: StartAdapter, crms: Crms) -> Adapter:
    adapter = await start(
        crm=crms.settings("users", "points", "coupons"),
        koshelek={"offers_path": "/v1/card/{cardNumber}/offers"},
        receipts={"wait": 15.0},
        promo={"wait": 15.0},
        server={"deadline": 20.0},
        delivery=DELIVERY,
    )
    # Pegke has proved already that it shows what it was given; else the first doubt would wait for that.
    await adapter.service.visibility.found(OperationKind.RECEIPT, 0.0)
    return adapter


async def enrol(adapter: Adapter, crms: Crms) -> str:
    """A new person whom Pegke knows too; returns the card number."""
    phone = new_phone()
    crms.pegke.add_customer(phone=phone.removeprefix("7"))
    return await adapter.issue(phone=phone)


def effects(sandbox: Sandbox) -> int:
    return len(sandbox.ledger().effects)


@pytest.fixture
async def without_own_crm(database: str) -> None:
    """The database as it is where nobody has used the own CRM."""
    connection = await asyncpg.connect(database)
    await connection.execute("DROP SCHEMA crm CASCADE")
    await connection.close()


@pytest.mark.usefixtures("without_own_crm")
async def test_a_person_is_known_to_each_crm_by_its_own_reference(adapter: Adapter, crms: Crms) -> None:
    number = await enrol(adapter, crms)
    card = await adapter.service.cards.get(number)
    assert card is not None
    references = {card.users_reference, card.points_reference, card.coupons_reference}
    assert len(references - {None}) == 3
    assert await adapter.sql("SELECT to_regclass('crm.customers')") is None


async def test_a_receipt_goes_to_the_points_crm_alone_and_once(adapter: Adapter, crms: Crms) -> None:
    number = await enrol(adapter, crms)
    before = {name: effects(getattr(crms, name)) for name in ("perx", "pegke", "xerts")}
    body = {"qrCode": adapter.qr(), "cardNumber": number}
    answers = await asyncio.gather(*[adapter.post(QR, body) for _ in range(5)])
    assert {answer.body["status"] for answer in answers} == {"credited"}
    assert effects(crms.pegke) == before["pegke"] + 1
    assert (effects(crms.perx), effects(crms.xerts)) == (before["perx"], before["xerts"])
    assert (await adapter.get(f"/v1/card/{number}")).body["card"]["bonus"]["total"] == "62"


async def test_a_receipt_of_somebody_the_points_crm_does_not_know_yet_may_come_again(
    adapter: Adapter, crms: Crms
) -> None:
    phone = new_phone()
    body = {"qrCode": adapter.qr(), "cardNumber": await adapter.issue(phone=phone)}
    for _ in range(2):
        assert (await adapter.post(QR, body)).code == Code.RECEIPT_REFUSED
    crms.pegke.add_customer(phone=phone.removeprefix("7"))
    before = effects(crms.pegke)
    for _ in range(2):
        assert (await adapter.post(QR, body)).body["status"] == "credited"
    assert effects(crms.pegke) == before + 1


@pytest.mark.parametrize(
    "fault", ["hang_up_before", "hang_up_after", "error_before", "error_after", "garbage"]
)
async def test_a_doubtful_credit_is_settled_by_comparing_and_happens_once(
    adapter: Adapter, crms: Crms, fault: Any
) -> None:
    number = await enrol(adapter, crms)
    before = effects(crms.pegke)
    crms.pegke.fault(fault, "merchantGivePoints")
    answer = await adapter.post(QR, {"qrCode": adapter.qr(), "cardNumber": number})
    assert answer.body["status"] == "credited"
    assert effects(crms.pegke) == before + 1
    assert (await adapter.get(f"/v1/card/{number}")).body["card"]["bonus"]["total"] == "62"


async def issue_while_pegke_is_away(adapter: Adapter, crms: Crms) -> str:
    """A new person whom Pegke knows, but could not be asked about when the card was issued."""
    crms.pegke.fault("error_before", "*", times=None)
    number = await enrol(adapter, crms)
    crms.pegke.clear_faults()
    card = await adapter.service.cards.get(number)
    assert card is not None
    assert card.points_reference is None
    await asyncio.sleep(0.3)  # the breaker's pause
    return number


async def test_a_points_account_not_learnt_at_issue_is_learnt_with_the_receipt(
    adapter: Adapter, crms: Crms
) -> None:
    number = await issue_while_pegke_is_away(adapter, crms)
    answer = await adapter.post(QR, {"qrCode": adapter.qr(), "cardNumber": number})
    assert answer.body["status"] == "credited"


async def test_a_holder_whose_phone_nobody_tells_is_not_refused_points_but_held(
    start: StartAdapter, crms: Crms
) -> None:
    """Pegke was not asked, so it has not said that it does not know them."""
    crm = crms.settings("users", "points")
    del crm["users"]["properties"]
    delivery = {**DELIVERY, "give_up_after": 0.2}
    adapter = await start(crm=crm, receipts={"wait": 0}, delivery=delivery)
    number = await issue_while_pegke_is_away(adapter, crms)
    before = effects(crms.pegke)
    answer = await adapter.post(QR, {"qrCode": adapter.qr(), "cardNumber": number})
    assert answer.body["status"] == "accepted"
    info = await adapter.get(f"/v1/card/{number}")
    assert info.body["card"]["bonus"] == {"total": "0", "available": "0", "bonuses": []}
    assert (await adapter.get(f"/v1/card/{number}/purchases?startDate=2026-01-01")).status == 200
    async with asyncio.timeout(10):
        while not await adapter.sql(  # noqa: ASYNC110 - another task writes it
            "SELECT count(*) FROM koshelek.operations WHERE state = 'held' AND reason = 'never got through'"
        ):
            await asyncio.sleep(0.02)
    assert effects(crms.pegke) == before


async def test_the_card_that_perx_names_people_by_is_the_one_they_get(
    start: StartAdapter, crms: Crms
) -> None:
    number, phone = range_number(RANGE, 654321), new_phone()
    crms.perx.add_customer(identifier=number, phone=f"+{phone}", points=30)
    perx_alone = crms.settings("users")["users"] | {
        "identifier": "membership",
        "merchant_identifier": perx.MERCHANT_IDENTIFIER,
    }
    adapter = await start(crm=perx_alone)
    found = await adapter.get(f"/v1/card?msisdn={phone}")
    assert found.body["card"]["cardNumber"] == number
    assert await adapter.issue(phone=phone) == number
    assert (await adapter.get(f"/v1/card/{number}")).body["card"]["bonus"]["total"] == "30"


async def test_offers_come_from_the_coupons_crm(adapter: Adapter, crms: Crms) -> None:
    number = await enrol(adapter, crms)
    coupons = adapter.service.programme.coupons
    card = await adapter.service.cards.get(number)
    assert coupons is not None
    assert card is not None
    assert card.coupons_reference is not None
    assert (await adapter.get(f"/v1/card/{number}/offers")).body == []
    await coupons.issue(card.coupons_reference, "visit", idempotency_key="v", deadline=Deadline.after(5))
    offers = (await adapter.get(f"/v1/card/{number}/offers")).body
    assert offers
    used = await adapter.post("/v1/promo/code", {"code": offers[0]["code"], "cardNumber": number})
    assert used.body["status"] == "credited"
    left = (await adapter.get(f"/v1/card/{number}/offers")).body
    assert [offer["code"] for offer in left] == [offer["code"] for offer in offers[1:]]


async def coupons_given(adapter: Adapter) -> list[str]:
    """States of the occasions recorded, once none of them is under way."""
    while True:
        rows = await adapter.service.pool.fetch(
            "SELECT state FROM koshelek.operations WHERE kind = 'coupons' ORDER BY id"
        )
        states = [row["state"] for row in rows]
        if not {"recorded", "sent", "unknown"} & set(states):
            return states
        await asyncio.sleep(0.05)


async def test_a_new_card_and_a_credited_receipt_are_occasions_for_coupons(
    start: StartAdapter, crms: Crms
) -> None:
    adapter = await start(
        crm=crms.settings("users", "points", "coupons"),
        coupons={"card_occasion": "visit", "receipt_occasion": "receipt"},
        koshelek={"offers_path": "/v1/card/{cardNumber}/offers"},
        delivery=DELIVERY,
    )
    phone = new_phone()
    crms.pegke.add_customer(phone=phone.removeprefix("7"))
    number = await adapter.issue(phone=phone)
    offers = f"/v1/card/{number}/offers"
    assert await coupons_given(adapter) == ["done"]
    first = {offer["id"] for offer in (await adapter.get(offers)).body}
    assert first
    receipt = {"qrCode": adapter.qr(), "cardNumber": number}
    for _ in range(3):
        assert (await adapter.post(QR, receipt)).body["status"] == "credited"
    assert await adapter.issue(phone=phone) == number
    assert await coupons_given(adapter) == ["done", "done"]
    assert first < {offer["id"] for offer in (await adapter.get(offers)).body}


async def test_coupons_in_doubt_are_not_given_twice(start: StartAdapter, crms: Crms) -> None:
    adapter = await start(
        crm=crms.settings("users", "coupons"), coupons={"card_occasion": "visit"}, delivery=DELIVERY
    )
    before = effects(crms.xerts)
    crms.xerts.fault("hang_up_after", "createCoupons")
    await enrol(adapter, crms)
    assert await coupons_given(adapter) == ["held"]
    once = effects(crms.xerts)
    assert once > before
    crms.xerts.clear_faults()
    await enrol(adapter, crms)
    assert await coupons_given(adapter) == ["held", "done"]
    assert effects(crms.xerts) - once == once - before


async def test_a_wrong_site_of_coupons_waits_and_says_so(start: StartAdapter, crms: Crms) -> None:
    wrong = crms.settings("users", "coupons")
    wrong["coupons"] |= {"site": "no-such-site", "occasions": {}}
    adapter = await start(crm=wrong, coupons={"card_occasion": "visit"}, delivery=DELIVERY)
    await enrol(adapter, crms)
    detail = None
    while detail is None:
        await asyncio.sleep(0.05)
        detail = await adapter.service.pool.fetchval(
            "SELECT detail FROM koshelek.operations WHERE kind = 'coupons' AND state = 'recorded'"
        )
    assert detail == (
        "xerts: the site in site is unknown there, or has no offers (status 404); correct site, or attach an "
        "offer to it"
    )


async def test_what_no_bound_crm_can_do_has_its_own_code(start: StartAdapter, crms: Crms) -> None:
    adapter = await start(crm=crms.settings("users", "points"))
    number = await enrol(adapter, crms)
    promo = {"cardNumber": number, "code": "ABCDE"}
    assert (await adapter.post("/v1/promo/code", promo)).code == Code.NOT_SUPPORTED


async def test_where_the_crm_cannot_list_phones_the_owners_of_cards_are_listed(
    start: StartAdapter, crms: Crms
) -> None:
    """More than fit into one part of the answer; a customer without a card is not the adapter's to know."""
    settings = crms.settings("users")
    settings["users"] |= {"send_phone": True}
    adapter = await start(crm=settings)
    assert (await adapter.get("/v1/card/getAllUsers")).body == []
    phones = [new_phone() for _ in range(40)]
    for phone in phones:
        await adapter.issue(phone=phone)
    answer = await adapter.get("/v1/card/getAllUsers")
    assert sorted(answer.body) == sorted(phones)
    extended = await adapter.get("/v1/card/getAllUsersExtended")
    assert sorted(extended.body, key=lambda row: row["phone"]) == [
        {"phone": phone, "params": []} for phone in sorted(phones)
    ]
    crms.perx.fault("error_before", "*", times=None)
    assert (await adapter.get("/v1/card/getAllUsers")).code == Code.CRM_DOWN


@pytest.mark.parametrize("status", [500, 401, 403])
async def test_the_card_is_shown_with_the_last_balance_while_the_crm_is_away(
    adapter: Adapter, crms: Crms, status: int
) -> None:
    """Or refuses the adapter's credentials: the holder of the card is not to blame for either."""
    number = await enrol(adapter, crms)
    await adapter.post(QR, {"qrCode": adapter.qr(), "cardNumber": number})
    assert (await adapter.get(f"/v1/card/{number}")).body["card"]["bonus"]["total"] == "62"
    crms.pegke.fault("error_before", "*", times=None, status=status)
    for _ in range(3):
        shown = await adapter.get(f"/v1/card/{number}")
        assert shown.body["card"]["bonus"] == {"total": "62", "available": "62", "bonuses": []}
    crms.pegke.clear_faults()
    await asyncio.sleep(0.3)
    assert (await adapter.get(f"/v1/card/{number}")).body["card"]["bonus"]["bonuses"] != []


async def test_a_balance_that_is_too_old_is_not_shown(start: StartAdapter, crms: Crms) -> None:
    adapter = await start(crm={**crms.settings("users", "points"), "stale_after": 0.0})
    number = await enrol(adapter, crms)
    assert (await adapter.get(f"/v1/card/{number}")).status == 200
    crms.pegke.fault("error_before", "*", times=None)
    assert (await adapter.get(f"/v1/card/{number}")).code == Code.CRM_DOWN


async def test_ports_left_unbound(start: StartAdapter, crms: Crms) -> None:
    adapter = await start(
        crm=crms.settings("users"), koshelek={"offers_path": "/v1/card/{cardNumber}/offers"}
    )
    number = await adapter.issue(phone=new_phone())
    info = await adapter.get(f"/v1/card/{number}")
    assert info.body["card"]["bonus"] == {"total": "0", "available": "0", "bonuses": []}
    assert (await adapter.get(f"/v1/card/{number}/offers")).body == []
    for path, body in ((QR, {"qrCode": adapter.qr()}), ("/v1/promo/code", {"code": "X"})):
        assert (await adapter.post(path, {**body, "cardNumber": number})).code == Code.NOT_SUPPORTED


async def test_users_left_unbound_are_kept_by_the_adapter(start: StartAdapter, crms: Crms) -> None:
    adapter = await start(crm=crms.settings("points"), receipts={"wait": 5.0}, delivery=DELIVERY)
    number = await enrol(adapter, crms)
    assert await adapter.sql("SELECT count(*) FROM crm.customers") == 1
    answer = await adapter.post(QR, {"qrCode": adapter.qr(), "cardNumber": number})
    assert answer.body["status"] == "credited"


@pytest.mark.parametrize("fault", ["hang_up_after", "error_after", "hang_up_before"])
async def test_a_doubtful_registration_makes_one_customer(adapter: Adapter, crms: Crms, fault: Any) -> None:
    before = effects(crms.perx)
    crms.perx.fault(fault, "createUserAccount")
    answers = await asyncio.gather(
        *[adapter.post("/v1/card/anonymous", {"phone": "79161112233"}) for _ in range(3)]
    )
    assert len({answer.body["card"]["cardNumber"] for answer in answers}) == 1
    assert effects(crms.perx) == before + 1


async def test_a_holder_is_found_by_an_email_that_the_crm_cannot_be_asked_for(adapter: Adapter) -> None:
    """Perx has no search by e-mail, so the adapter remembers those of its holders."""
    number = await adapter.issue(phone=new_phone(), email="First@Example.com")
    assert (await adapter.get("/v1/card?email=first@example.COM")).body["card"]["cardNumber"] == number
    assert (await adapter.get("/v1/card?email=nobody@example.com")).body is None
    await adapter.post(f"/v1/card/{number}", {"email": "second@example.com"})
    assert (await adapter.get("/v1/card?email=first@example.com")).body is None
    assert (await adapter.get("/v1/card?email=second@example.com")).body["card"]["cardNumber"] == number


async def test_a_phone_or_email_of_another_holder_is_a_conflict(adapter: Adapter) -> None:
    first, second = new_phone(), new_phone()
    await adapter.issue(phone=first, email="taken@example.com")
    number = await adapter.issue(phone=second)
    for profile in ({"phone": first}, {"email": "TAKEN@example.com"}):
        assert (await adapter.post(f"/v1/card/{number}", profile)).code == Code.CONFLICT
    for profile in ({"phone": second}, {"email": "free@example.com"}):
        assert (await adapter.post(f"/v1/card/{number}", profile)).status == 200
    stranger = {"phone": new_phone(), "email": "taken@example.com"}
    assert (await adapter.post("/v1/card/anonymous", stranger)).code == Code.WEAK_MATCH
