"""KLO-10: the QR code of a cash receipt."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from adapter.errors import Code

from .conftest import Adapter, StartAdapter, new_phone

QR = "/v1/promo/qrCode"
CREDITED = {"status": "credited", "points": "62", "description": "Баллы за чек начислены"}


async def _total(adapter: Adapter, number: str) -> str:
    return str((await adapter.get(f"/v1/card/{number}")).body["card"]["bonus"]["total"])


async def test_a_receipt_is_credited_by_the_rule(adapter: Adapter) -> None:
    number = await adapter.issue(phone=new_phone())
    answer = await adapter.post(QR, {"qrCode": adapter.qr("1250.00"), "cardNumber": number})
    assert (answer.status, answer.body) == (200, CREDITED)
    assert await _total(adapter, number) == "62"
    today = adapter.service.programme.now().date() - timedelta(days=1)
    bought = await adapter.get(f"/v1/card/{number}/purchases", startDate=today.isoformat())
    assert [(line["amount"], line["bonuses"]) for line in bought.body] == [("125000", "62")]


async def test_a_receipt_may_come_by_phone_and_under_other_names(adapter: Adapter) -> None:
    await adapter.issue(phone="79161112233")
    for name in ("qrCode", "qr", "qrcode", "QR", "code"):
        answer = await adapter.post(QR, {name: adapter.qr(), "msisdn": "+79161112233"})
        assert answer.body == CREDITED


async def test_of_card_and_phone_of_different_people_the_card_counts(adapter: Adapter) -> None:
    """As METHODS.md says: the phone beside a card number is not looked at."""
    card = await adapter.issue(phone="79161112244")
    other = await adapter.issue(phone="79161112255")
    answer = await adapter.post(QR, {"qrCode": adapter.qr(), "cardNumber": card, "msisdn": "79161112255"})
    assert answer.body == CREDITED
    assert (await _total(adapter, card), await _total(adapter, other)) == ("62", "0")


async def test_a_receipt_that_brings_nothing_is_told_so(adapter: Adapter) -> None:
    number = await adapter.issue(phone=new_phone())
    answer = await adapter.post(QR, {"qrCode": adapter.qr("0.01"), "cardNumber": number})
    assert answer.body == {
        "status": "credited",
        "points": "0",
        "description": "Чек принят, баллов за него нет",
    }


async def test_the_six_fields_may_be_given_apart(adapter: Adapter) -> None:
    number = await adapter.issue(phone=new_phone())
    fields = dict(pair.split("=") for pair in adapter.qr().split("&"))
    answer = await adapter.post(QR, {**fields, "cardNumber": number, "n": 1})
    assert answer.body == CREDITED


async def test_the_fields_given_apart_may_be_numbers_and_have_their_other_names(adapter: Adapter) -> None:
    number = await adapter.issue(phone=new_phone())
    for total in ("1250.00", 1250, 1250.0, "1250"):
        given = dict(pair.split("=") for pair in adapter.qr().split("&"))
        body = {
            "dt": given["t"], "SUM": total, "fn": given["fn"], "fd": int(given["i"]), "fpd": int(given["fp"])
        }  # fmt: skip
        answer = await adapter.post(QR, {**body, "cardNumber": number, "ignored": [1.5]})
        assert answer.body == CREDITED, total


async def test_a_field_given_apart_that_is_twice_there_or_wrong_is_named(adapter: Adapter) -> None:
    number = await adapter.issue(phone=new_phone())
    given = dict(pair.split("=") for pair in adapter.qr().split("&"))
    wrong: list[tuple[dict[str, object], Code]] = [
        ({"sum": "1250.00"}, Code.QR_UNREADABLE),
        ({"s": 12.505}, Code.QR_UNREADABLE),
        ({"s": 1e30}, Code.QR_UNREADABLE),
        ({"s": ["1250.00"]}, Code.FIELD_INVALID),
        ({"s": True}, Code.FIELD_INVALID),
    ]
    for changed, code in wrong:
        answer = await adapter.post(QR, {**given, **changed, "cardNumber": number})
        assert (answer.code, answer.body["description"].rpartition(" ")[2]) == (code, "s")
    assert (await adapter.post(QR, {**given, "i": 7.5, "cardNumber": number})).code == Code.QR_UNREADABLE


async def test_the_names_of_the_fields_are_settings(start: StartAdapter) -> None:
    adapter = await start(koshelek={"qr_fields": ["chek"]})
    number = await adapter.issue(phone=new_phone())
    assert (await adapter.post(QR, {"chek": adapter.qr(), "cardNumber": number})).body == CREDITED
    answer = await adapter.post(QR, {"qrCode": adapter.qr(), "cardNumber": number})
    assert (answer.code, answer.body["description"][-4:]) == (Code.FIELD_MISSING, "chek")


async def test_the_same_receipt_again_replays_the_first_answer(adapter: Adapter) -> None:
    number = await adapter.issue(phone=new_phone())
    qr = adapter.qr()
    shuffled = "&".join(reversed(qr.split("&")))
    for text in (qr, qr, shuffled, qr.replace("&", ";")):
        assert (await adapter.post(QR, {"qrCode": text, "cardNumber": number})).body == CREDITED
    assert await _total(adapter, number) == "62"


async def test_points_of_a_holder_without_phone_and_email(adapter: Adapter) -> None:
    """A customer of the till's, with plastic of their own: known by nothing but the reference."""
    await adapter.sql("INSERT INTO crm.customers (first_name) VALUES ('Anna')")
    customer = str(await adapter.sql("SELECT id FROM crm.customers"))
    number = await adapter.plastic(5, "active", customer)
    assert await _total(adapter, number) == "0"
    assert (await adapter.post(QR, {"qrCode": adapter.qr(), "cardNumber": number})).body == CREDITED
    assert await _total(adapter, number) == "62"


async def test_a_partners_own_sql_says_whose_points_they_are(start: StartAdapter, tmp_path: Path) -> None:
    sql = "SELECT (:users_reference::bigint + 1)::text AS account"
    adapter = await start(crm=_partner_sql(tmp_path, "points_account", sql))
    number = await adapter.issue(phone=new_phone())
    await adapter.issue(phone=new_phone())
    await adapter.post(QR, {"qrCode": adapter.qr(), "cardNumber": number})
    owner = await adapter.sql("SELECT users_reference FROM koshelek.cards WHERE number = $1", number)
    assert await adapter.sql("SELECT customer_id FROM crm.points_ledger") == int(owner) + 1


async def test_twenty_parallel_sends_credit_once(adapter: Adapter) -> None:
    number = await adapter.issue(phone=new_phone())
    body = {"qrCode": adapter.qr(), "cardNumber": number}
    answers = await asyncio.gather(*[adapter.post(QR, body) for _ in range(20)])
    assert all(answer.body == CREDITED for answer in answers)
    assert await adapter.sql("SELECT count(*) FROM crm.points_ledger") == 1
    assert await adapter.sql("SELECT count(*) FROM koshelek.operations WHERE kind = 'receipt'") == 1


async def test_many_receipts_recorded_together_keep_their_own_answers(adapter: Adapter) -> None:
    number = await adapter.issue(phone=new_phone())
    totals = [f"{100 * (n + 1)}.00" for n in range(40)]
    answers = await asyncio.gather(
        *[adapter.post(QR, {"qrCode": adapter.qr(total), "cardNumber": number}) for total in totals]
    )
    assert [answer.body["points"] for answer in answers] == [str(5 * (n + 1)) for n in range(40)]


async def test_the_first_card_wins(adapter: Adapter) -> None:
    first, second = await adapter.issue(phone=new_phone()), await adapter.issue(phone=new_phone())
    qr = adapter.qr()
    assert (await adapter.post(QR, {"qrCode": qr, "cardNumber": first})).status == 200
    answer = await adapter.post(QR, {"qrCode": qr, "cardNumber": second})
    assert answer.code == Code.RECEIPT_TAKEN
    assert await _total(adapter, second) == "0"


async def test_the_same_identity_with_another_sum_has_its_own_code(adapter: Adapter) -> None:
    number = await adapter.issue(phone=new_phone())
    await adapter.post(QR, {"qrCode": adapter.qr("100.00", 777), "cardNumber": number})
    answer = await adapter.post(QR, {"qrCode": adapter.qr("999.00", 777), "cardNumber": number})
    assert answer.code == Code.RECEIPT_DIFFERS


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"s": "0.00"}, Code.QR_UNREADABLE),
        ({"n": "7"}, Code.QR_UNREADABLE),
        ({"fp": "4294967296"}, Code.QR_UNREADABLE),
        ({"t": "20260230T1200"}, Code.QR_UNREADABLE),
        ({"t": "20991231T2359"}, Code.RECEIPT_FROM_FUTURE),
        ({"t": "20200101T0000"}, Code.RECEIPT_TOO_OLD),
        ({"n": "2"}, Code.RECEIPT_KIND),
    ],
)
async def test_a_receipt_that_does_not_count_is_refused_and_not_kept(
    adapter: Adapter, changed: dict[str, str], code: Code
) -> None:
    number = await adapter.issue(phone=new_phone())
    answer = await adapter.post(QR, {"qrCode": adapter.qr(changed=changed), "cardNumber": number})
    assert answer.code == code
    assert await adapter.sql("SELECT count(*) FROM koshelek.operations WHERE kind = 'receipt'") == 0


async def test_a_minimum_total_is_a_setting(start: StartAdapter) -> None:
    adapter = await start(receipts={"minimum_total": Decimal(500)})
    number = await adapter.issue(phone=new_phone())
    answer = await adapter.post(QR, {"qrCode": adapter.qr("499.99"), "cardNumber": number})
    assert answer.code == Code.RECEIPT_TOO_SMALL


async def test_a_receipt_needs_an_active_card(adapter: Adapter) -> None:
    assert (await adapter.post(QR, {"qrCode": adapter.qr()})).code == Code.FIELD_MISSING
    blocked = await adapter.issue(phone=new_phone())
    await adapter.service.cards.block(blocked)
    for number, code in (
        ("1", Code.CARD_UNKNOWN),
        (await adapter.plastic(5), Code.CARD_NOT_ACTIVE),
        (blocked, Code.CARD_BLOCKED),
    ):
        answer = await adapter.post(QR, {"qrCode": adapter.qr(), "cardNumber": number})
        assert answer.code == code
    answer = await adapter.post(QR, {"qrCode": adapter.qr(), "msisdn": new_phone()})
    assert answer.code == Code.CARD_UNKNOWN


async def test_a_receipt_is_recorded_before_it_is_answered_and_delivered_later(start: StartAdapter) -> None:
    accepting = await start(delivery={"in_process": False}, receipts={"wait": 0.01})
    enrolling = await start()
    number = await enrolling.issue(phone=new_phone())
    await enrolling.service.stop_delivery()
    qr = accepting.qr()
    answer = await accepting.post(QR, {"qrCode": qr, "cardNumber": number})
    assert answer.body["status"] == "accepted"
    assert "points" not in answer.body
    row = await accepting.service.pool.fetchrow(
        "SELECT state, request FROM koshelek.operations WHERE kind = 'receipt'"
    )
    assert row is not None
    assert row["state"] == "recorded"
    assert json.loads(row["request"])["kopecks"] == 125000
    await start()  # delivers
    for _ in range(100):
        again = await accepting.post(QR, {"qrCode": qr, "cardNumber": number})
        if again.body["status"] == "credited":
            break
        await asyncio.sleep(0.05)
    assert again.body == CREDITED


def _partner_sql(folder: Path, name: str, sql: str) -> dict[str, object]:
    """CRM settings of our own schema with one statement replaced."""
    (folder / f"{name}.sql").write_text(sql)
    return {"driver": "postgres", "sql_dir": str(folder), "manage_schema": True}


async def test_a_refusal_of_the_crm_is_final_and_replayed(start: StartAdapter, tmp_path: Path) -> None:
    sql = (
        "SELECT 0::numeric AS points, 'other' AS outcome, :account::text AS a, :idempotency_key::text AS b, "
        ":points::numeric AS c"
    )
    adapter = await start(crm=_partner_sql(tmp_path, "points_credit", sql))
    number = await adapter.issue(phone=new_phone())
    body = {"qrCode": adapter.qr(), "cardNumber": number}
    for _ in range(2):
        assert (await adapter.post(QR, body)).code == Code.RECEIPT_REFUSED
    assert await adapter.sql("SELECT attempt FROM koshelek.operations WHERE kind = 'receipt'") == 1


async def test_a_crm_that_is_down_delays_the_credit_and_loses_nothing(
    start: StartAdapter, database: str, tmp_path: Path
) -> None:
    adapter = await start(receipts={"wait": 0.3}, delivery={"retry_first": 0.1})
    number = await adapter.issue(phone=new_phone())
    await adapter.sql("ALTER TABLE crm.points_ledger RENAME TO gone")
    body = {"qrCode": adapter.qr(), "cardNumber": number}
    assert (await adapter.post(QR, body)).body["status"] == "accepted"
    await adapter.sql("ALTER TABLE crm.gone RENAME TO points_ledger")
    for _ in range(100):
        answer = await adapter.post(QR, body)
        if answer.body["status"] == "credited":
            break
        await asyncio.sleep(0.05)
    assert answer.body == CREDITED
    assert await _total(adapter, number) == "62"


async def test_a_rule_without_points_still_records_the_receipt(start: StartAdapter) -> None:
    adapter = await start(receipts={"rate": Decimal(0)})
    number = await adapter.issue(phone=new_phone())
    answer = await adapter.post(QR, {"qrCode": adapter.qr(), "cardNumber": number})
    assert answer.body["points"] == "0"
