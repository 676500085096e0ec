"""KLO-12: promo codes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from adapter.errors import Code
from adapter.loyalty import promo

from .conftest import Adapter, StartAdapter, new_phone

PROMO = "/v1/promo/code"
CODES = """
    INSERT INTO crm.promo_codes (code, points, message, valid_from, valid_until, max_uses, uses)
    VALUES ('WELCOME', 100, 'Добро пожаловать', NULL, NULL, NULL, 0),
           ('SINGLE', 50, NULL, NULL, NULL, 1, 0),
           ('EXPIRED', 50, NULL, NULL, now() - interval '1 day', NULL, 0),
           ('SOON', 50, NULL, now() + interval '1 day', NULL, NULL, 0),
           ('GONE', 50, NULL, NULL, NULL, 10, 10)
"""


@pytest.fixture
async def adapter(adapter: Adapter) -> Adapter:
    await adapter.sql(CODES)
    return adapter


async def test_a_valid_code_gives_its_points(adapter: Adapter) -> None:
    number = await adapter.issue(phone=new_phone())
    answer = await adapter.post(PROMO, {"code": " welcome ", "cardNumber": number})
    assert answer.body == {"status": "credited", "points": "100", "description": "Добро пожаловать"}
    bonus = (await adapter.get(f"/v1/card/{number}")).body["card"]["bonus"]
    assert bonus["available"] == "100"
    assert [entry["description"] for entry in bonus["bonuses"]] == ["WELCOME"]  # words in no language


async def test_a_code_may_come_by_phone_and_under_another_name(adapter: Adapter) -> None:
    await adapter.issue(phone="79161112233")
    answer = await adapter.post(PROMO, {"promocode": "WELCOME", "msisdn": "79161112233"})
    assert answer.body["points"] == "100"


@pytest.mark.parametrize(
    ("promo", "code"),
    [
        ("NOSUCH", Code.PROMO_UNKNOWN),
        ("EXPIRED", Code.PROMO_EXPIRED),
        ("SOON", Code.PROMO_NOT_YET_VALID),
        ("GONE", Code.PROMO_EXHAUSTED),
    ],
)
async def test_a_code_that_does_not_work_says_why(adapter: Adapter, promo: str, code: Code) -> None:
    number = await adapter.issue(phone=new_phone())
    for _ in range(2):
        assert (await adapter.post(PROMO, {"code": promo, "cardNumber": number})).code == code


async def test_a_repeated_call_gets_the_first_answer_and_no_second_points(adapter: Adapter) -> None:
    number = await adapter.issue(phone=new_phone())
    body = {"code": "WELCOME", "cardNumber": number}
    answers = await asyncio.gather(*[adapter.post(PROMO, body) for _ in range(20)])
    assert {answer.body["points"] for answer in answers} == {"100"}
    assert (await adapter.get(f"/v1/card/{number}")).body["card"]["bonus"]["total"] == "100"


async def test_a_second_use_after_the_replay_time_is_refused(start: StartAdapter) -> None:
    adapter = await start(promo={"replay": 0.001})
    await adapter.sql(CODES)
    number = await adapter.issue(phone=new_phone())
    body = {"code": "WELCOME", "cardNumber": number}
    assert (await adapter.post(PROMO, body)).status == 200
    await asyncio.sleep(0.01)
    for _ in range(2):
        assert (await adapter.post(PROMO, body)).code == Code.PROMO_USED
    assert (await adapter.get(f"/v1/card/{number}")).body["card"]["bonus"]["total"] == "100"


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(hours=-1)])
async def test_a_second_use_is_told_by_the_databases_clock(
    ahead: timedelta, adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(datetime):
        @classmethod
        def now(cls, tz: object = None) -> Wrong:
            return cls.fromtimestamp(datetime.now(UTC).timestamp() + ahead.total_seconds(), UTC)

    monkeypatch.setattr(promo, "datetime", Wrong, raising=False)
    number = await adapter.issue(phone=new_phone())
    body = {"code": "WELCOME", "cardNumber": number}
    for _ in range(2):
        assert (await adapter.post(PROMO, body)).body["points"] == "100"
    await adapter.sql("UPDATE koshelek.operations SET finished_at = finished_at - interval '2 minutes'")
    assert (await adapter.post(PROMO, body)).code == Code.PROMO_USED


async def test_a_single_use_code_goes_to_one_of_many(adapter: Adapter) -> None:
    numbers = [await adapter.issue(phone=new_phone()) for _ in range(10)]
    answers = await asyncio.gather(
        *[adapter.post(PROMO, {"code": "SINGLE", "cardNumber": number}) for number in numbers]
    )
    assert sorted(answer.status for answer in answers) == [200] + [422] * 9
    assert {answer.code for answer in answers if answer.status == 422} == {Code.PROMO_USED}


async def test_a_code_that_was_unknown_works_once_it_exists(adapter: Adapter) -> None:
    number = await adapter.issue(phone=new_phone())
    body = {"code": "LATE", "cardNumber": number}
    assert (await adapter.post(PROMO, body)).code == Code.PROMO_UNKNOWN
    await adapter.sql("INSERT INTO crm.promo_codes (code, points) VALUES ('LATE', 5)")
    assert (await adapter.post(PROMO, body)).body["points"] == "5"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, Code.FIELD_MISSING),
        ({"code": "  "}, Code.FIELD_MISSING),
        ({"code": ["WELCOME"]}, Code.FIELD_INVALID),
        ({"code": "x" * 101}, Code.FIELD_INVALID),
        ({"code": "a\x00b"}, Code.FIELD_INVALID),
    ],
)
async def test_a_malformed_code_is_refused(adapter: Adapter, body: dict[str, object], code: Code) -> None:
    number = await adapter.issue(phone=new_phone())
    assert (await adapter.post(PROMO, {**body, "cardNumber": number})).code == code
