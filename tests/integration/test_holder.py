"""KLO-2, 3, 4, 7, 8, 9: what a card holder sees and changes."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest

from adapter.errors import Code
from crm_backends.model import Credit, FiscalReceipt
from crm_backends.ports import Deadline

from .conftest import LOGIN, PASSWORD, Adapter, StartAdapter, basic, new_phone


async def _consents(adapter: Adapter) -> dict[str, bool]:
    rows = await adapter.service.pool.fetch("SELECT channel, allowed FROM koshelek.consents")
    return {row["channel"]: row["allowed"] for row in rows}


async def test_consents_change_only_the_channels_named(adapter: Adapter) -> None:
    number = await adapter.issue(phone=new_phone())
    path = f"/v1/card/{number}/communication"
    answer = await adapter.call("PUT", path, {"allow": ["sms", "email"], "deny": ["call"]})
    assert (answer.status, answer.body) == (200, None)
    assert await _consents(adapter) == {"sms": True, "email": True, "call": False}
    await adapter.call("PUT", path, {"allow": [], "deny": ["sms"]})
    await adapter.call("PUT", path, {"allow": ["PUSH", "pigeon"]})
    expected = {"sms": False, "email": True, "call": False, "push": True}
    assert await _consents(adapter) == expected
    rows = await adapter.service.pool.fetch("SELECT channel, allowed FROM crm.consents")
    assert {row["channel"]: row["allowed"] for row in rows} == expected


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"allow": "sms"}, "allow"),
        ({"allow": [1]}, "allow"),
        ({"deny": {"sms": "1"}}, "deny"),
        ({"allow": ["sms"], "deny": ["sms"]}, "deny"),
    ],
)
async def test_malformed_consents_name_the_field(adapter: Adapter, body: object, field: str) -> None:
    number = await adapter.issue(phone=new_phone())
    answer = await adapter.call("PUT", f"/v1/card/{number}/communication", body)
    assert answer.code == Code.FIELD_INVALID
    assert field in answer.body["description"]
    assert await _consents(adapter) == {}


@pytest.mark.parametrize("body", [{"sms": False}, {"sms": "maybe"}, {"channels": {"deny": ["sms"]}}])
async def test_consents_in_neither_list_are_refused_and_not_lost(adapter: Adapter, body: object) -> None:
    """A "no" in a form that nobody reads was answered 200, and forgotten."""
    number = await adapter.issue(phone=new_phone())
    answer = await adapter.call("PUT", f"/v1/card/{number}/communication", body)
    assert answer.code == Code.FIELD_MISSING
    assert "allow" in answer.body["description"]


@pytest.mark.parametrize("body", [{}, {"allow": [], "deny": []}, {"deny": []}, {"allow": ["pigeon"]}])
async def test_consents_that_change_nothing_are_answered(adapter: Adapter, body: object) -> None:
    number = await adapter.issue(phone=new_phone())
    answer = await adapter.call("PUT", f"/v1/card/{number}/communication", body)
    assert (answer.status, answer.body) == (200, None)


async def test_card_info_shows_points_newest_first_without_zeros(adapter: Adapter) -> None:
    number = await adapter.issue(phone="79161112233")
    customer = await adapter.sql("SELECT id FROM crm.customers")
    await adapter.sql(
        """
        INSERT INTO crm.points_ledger
               (customer_id, amount, remaining, description, created_at, available_from, valid_until)
        VALUES ($1, 100, 100, 'first', now() - interval '3 days', now(), NULL),
               ($1, 0, 0, 'nothing', now() - interval '2 days', now(), NULL),
               ($1, 12.5, 12.5, 'later', now() - interval '1 day', now() + interval '1 day', '2099-12-31')
        """,
        customer,
    )
    info = await adapter.get(f"/v1/card/{number}")
    assert info.body["card"]["bonus"] == {
        "total": "112.5",
        "available": "100",
        "bonuses": [
            {"description": "later", "amount": "12.5", "validUntil": "2099-12-31"},
            {"description": "first", "amount": "100"},
        ],
    }


async def test_an_unknown_or_unissued_number_is_422(adapter: Adapter) -> None:
    free, reserved = await adapter.plastic(500, "free"), await adapter.reserve()
    for number in ("1", free, reserved, "%D1%84", "a" * 65, "%00", "..%2f.."):
        assert (await adapter.get(f"/v1/card/{number}")).code == Code.CARD_UNKNOWN


@pytest.mark.parametrize("verb", ["POST", "PUT", "PATCH"])
async def test_a_profile_is_updated_in_part(adapter: Adapter, verb: str) -> None:
    number = await adapter.issue(phone="79161112233", firstname="Анна", locality="Томск")
    answer = await adapter.call(
        verb, f"/v1/card/{number}", {"firstName": "Аня", "EMAIL": "a@example.com", "surname": "", "x": {}}
    )
    assert (answer.status, answer.body) == (200, None)
    row = await adapter.service.pool.fetchrow(
        "SELECT first_name, email, surname, locality FROM crm.customers"
    )
    assert row is not None
    assert tuple(row) == ("Аня", "a@example.com", None, "Томск")


async def test_a_phone_or_email_of_another_customer_is_a_conflict(adapter: Adapter) -> None:
    await adapter.issue(phone="79160000001", email="taken@example.com")
    number = await adapter.issue(phone="79160000002")
    for change in ({"phone": "79160000001"}, {"email": "TAKEN@example.com"}):
        assert (await adapter.post(f"/v1/card/{number}", change)).code == Code.CONFLICT


async def test_plastic_without_an_owner_has_no_profile(adapter: Adapter) -> None:
    number = await adapter.plastic(5)
    assert (await adapter.post(f"/v1/card/{number}", {"firstname": "A"})).code == Code.CARD_NOT_ACTIVE
    answer = await adapter.call("PUT", f"/v1/card/{number}/communication", {"allow": ["sms"]})
    assert answer.code == Code.CARD_NOT_ACTIVE


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("phone", "abc"),
        ("phone", ["79161112233"]),
        ("phone", True),
        ("email", "x"),
        ("birthDate", "1990-13-45"),
        ("birthDate", "0000-00-00"),
        ("birthDate", "9999-01-01"),
        ("sex", "maybe"),
        ("firstname", "x" * 300),
        ("firstname", {"a": "b"}),
        ("surname", "a\x00b"),
    ],
)
async def test_a_wrong_value_names_its_field(adapter: Adapter, field: str, value: object) -> None:
    number = await adapter.issue(phone=new_phone())
    answer = await adapter.post(f"/v1/card/{number}", {field: value})
    assert answer.code == Code.FIELD_INVALID
    assert field in answer.body["description"]


async def _with_purchases(adapter: Adapter) -> str:
    number = await adapter.issue(phone=new_phone())
    await adapter.sql(
        """
        INSERT INTO crm.purchases (customer_id, at, item, amount_kopecks, quantity, location, bonuses)
        SELECT id, at::timestamptz, item, 12345, 1.5, 'Томск', 6
          FROM crm.customers, (VALUES ('2026-03-01 00:00:00+03', 'first second'),
                                      ('2026-03-31 23:59:59+03', 'last second'),
                                      ('2026-04-01 00:00:00+03', 'next day')) AS line (at, item)
        """
    )
    return number


async def test_purchases_of_whole_days_both_ends_included(adapter: Adapter) -> None:
    path = f"/v1/card/{await _with_purchases(adapter)}/purchases"
    march = await adapter.get(path, startDate="2026-03-01", endDate="2026-03-31")
    assert [line["item"] for line in march.body] == ["last second", "first second"]
    assert march.body[0] == {
        "date": "2026-03-31T23:59:59+03:00",
        "item": "last second",
        "amount": "12345",
        "quantity": "1.5",
        "location": "Томск",
        "bonuses": "6",
    }
    assert len((await adapter.get(path, startDate="2026-03-01")).body) == 3


async def test_no_purchases_is_an_empty_array(adapter: Adapter) -> None:
    path = f"/v1/card/{await _with_purchases(adapter)}/purchases"
    assert (await adapter.get(path, startDate="2001-01-01", endDate="2001-01-02")).body == []
    tomorrow = date.today() + timedelta(days=2)  # noqa: DTZ011
    assert (await adapter.get(path, startDate=tomorrow.isoformat())).body == []


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"startDate": ""},
        {"startDate": "yesterday"},
        {"startDate": "2026-02-30"},
        {"startDate": "2026-03-02", "endDate": "2026-03-01"},
    ],
)
async def test_wrong_days_are_refused(adapter: Adapter, query: dict[str, str]) -> None:
    number = await adapter.issue(phone=new_phone())
    answer = await adapter.get(f"/v1/card/{number}/purchases", **query)
    assert answer.code in (Code.FIELD_MISSING, Code.FIELD_INVALID)


async def test_offers_are_off_by_default_and_on_by_path(start: StartAdapter) -> None:
    off = await start()
    number = await off.issue(phone=new_phone())
    await off.sql("INSERT INTO crm.offers (title, code) VALUES ('Coffee', 'C50')")
    assert (await off.get(f"/v1/card/{number}/offers")).code == Code.UNKNOWN_METHOD
    on = await start(koshelek={"offers_path": "/v1/offers/{cardNumber}"})
    offers = (await on.get(f"/v1/offers/{number}")).body
    assert [(offer["title"], offer["code"]) for offer in offers] == [("Coffee", "C50")]


async def test_all_users_lists_every_phone(adapter: Adapter) -> None:
    assert (await adapter.get("/v1/card/getAllUsers")).body == []
    assert (await adapter.get("/v1/card/getAllUsersExtended")).body == []
    phones = [new_phone() for _ in range(3)]
    for phone in phones:
        await adapter.issue(phone=phone)
    await adapter.register(email="nobody@example.com")
    assert sorted((await adapter.get("/v1/card/getAllUsers")).body) == sorted(phones)
    extended = (await adapter.get("/v1/card/getAllUsersExtended")).body
    assert extended[0] == {"phone": phones[0], "params": []}


async def test_all_users_streams_many_without_loss(adapter: Adapter) -> None:
    await adapter.sql(
        "INSERT INTO crm.customers (phone) "
        "SELECT '+7916' || lpad(n::text, 7, '0') FROM generate_series(1, 30000) n"
    )
    headers = {"Authorization": basic(LOGIN, PASSWORD)}
    async with adapter.session.get(f"{adapter.base}/v1/card/getAllUsers", headers=headers) as response:
        assert response.headers.get("Transfer-Encoding") == "chunked"
        phones = json.loads(await response.read())
    assert len(set(phones)) == 30000


async def test_all_users_can_be_switched_off(start: StartAdapter) -> None:
    adapter = await start(koshelek={"get_all_users": False})
    for path in ("/v1/card/getAllUsers", "/v1/card/getAllUsersExtended"):
        assert (await adapter.get(path)).code == Code.UNKNOWN_METHOD


async def test_points_credited_by_the_crm_alone_are_shown(adapter: Adapter) -> None:
    number = await adapter.issue(phone=new_phone())
    card = await adapter.service.cards.get(number)
    assert card is not None
    assert card.users_reference is not None
    points = adapter.service.programme.points
    assert points is not None
    receipt = FiscalReceipt("1", "2", "3", 100_00, adapter.service.programme.now(), 1)
    credit = Credit(points=None, description="by rule", receipt=receipt)
    await points.credit(card.users_reference, credit, idempotency_key="r", deadline=Deadline.after(5))
    assert (await adapter.get(f"/v1/card/{number}")).body["card"]["bonus"]["total"] == "1"
