"""KLO-1: find a card by phone or e-mail."""

from __future__ import annotations

import dataclasses
from datetime import date
from typing import Any

import pytest

from adapter.errors import Code
from adapter.loyalty.programme import remember_accounts
from adapter.store.emails import PostgresEmails
from crm_backends.model import Customer, Holder, Profile
from crm_backends.ports import Deadline

from .conftest import Adapter, StartAdapter, new_phone

FIND = "/v1/card"


async def test_a_person_is_found_by_phone_in_any_usual_spelling(adapter: Adapter) -> None:
    number = await adapter.issue(phone="79161112233")
    for msisdn in ("79161112233", "+79161112233", "+7 (916) 111-22-33", "89161112233", " 79161112233 "):
        found = await adapter.get(FIND, msisdn=msisdn)
        assert found.body == {
            "card": {
                "cardNumber": number,
                "cardState": "active",
                "barcode": {"barcodeNumber": number, "barcodeType": "CODE_128"},
            }
        }


async def test_a_person_is_found_by_email_in_any_case(adapter: Adapter) -> None:
    number = await adapter.issue(phone=new_phone(), email="Anna@Example.com")
    found = await adapter.get(FIND, email="aNNa@exaMPLE.com")
    assert found.body["card"]["cardNumber"] == number


async def test_a_noted_email_is_found_in_any_case_and_a_person_has_one(adapter: Adapter) -> None:
    emails = PostgresEmails(adapter.service.gateway)
    for spelling in ("Anna@Example.COM", "anna@example.com"):
        await emails.note("person", spelling)
        for asked in ("anna@example.com", "ANNA@example.com"):
            assert await emails.owner(asked) == "person"
    await emails.note("person", "New@example.com")
    assert await emails.owner("anna@example.com") is None
    assert await emails.owner("new@example.com") == "person"


async def test_phone_and_email_combine_by_or(adapter: Adapter) -> None:
    number = await adapter.issue(phone="79161112233", email="anna@example.com")
    for query in (
        {"msisdn": "79161112233", "email": "nobody@example.com"},
        {"msisdn": "79160000000", "email": "anna@example.com"},
        {"msisdn": "79161112233", "birthDate": "1901-01-01"},
    ):
        assert (await adapter.get(FIND, **query)).body["card"]["cardNumber"] == number


async def test_nothing_found_is_200_with_an_empty_body(adapter: Adapter) -> None:
    for query in ({"msisdn": "79161112233"}, {"email": "a@b.ru"}, {}, {"msisdn": "", "email": ""}):
        answer = await adapter.get(FIND, **query)
        assert (answer.status, answer.body) == (200, None)


async def test_a_birth_date_alone_identifies_nobody(adapter: Adapter) -> None:
    await adapter.issue(phone=new_phone(), birthDate="1990-05-17")
    assert (await adapter.get(FIND, birthDate="1990-05-17")).body is None


async def test_a_customer_without_a_card_is_not_found(adapter: Adapter) -> None:
    await adapter.register(phone="+79161112233")
    assert (await adapter.get(FIND, msisdn="79161112233")).body is None


async def test_unknown_parameters_are_ignored(adapter: Adapter) -> None:
    await adapter.issue(phone="79161112233")
    assert (await adapter.get(FIND, msisdn="79161112233", colour="green")).body is not None


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"msisdn": "abc"}, "msisdn"),
        ({"msisdn": "1234567890123456"}, "msisdn"),
        ({"email": "no at sign"}, "email"),
        ({"birthDate": "17.05.1990", "msisdn": "79161112233"}, "birthDate"),
        ({"birthDate": "9999-99-99", "msisdn": "79161112233"}, "birthDate"),
        ({"msisdn": "7916\x001112233"}, "msisdn"),
    ],
)
async def test_a_malformed_parameter_is_named(common: Adapter, query: dict[str, str], field: str) -> None:
    answer = await common.get(FIND, **query)
    assert answer.code == Code.FIELD_INVALID
    assert field in answer.body["description"]


async def test_a_blocked_card_is_an_error(adapter: Adapter) -> None:
    number = await adapter.issue(phone="79161112233")
    await adapter.service.cards.block(number)
    assert (await adapter.get(FIND, msisdn="79161112233")).code == Code.CARD_BLOCKED


async def _two_people(adapter: Adapter) -> tuple[str, str]:
    by_phone = await adapter.issue(phone="79161112233", birthDate="1990-05-17")
    by_email = await adapter.issue(phone="79164445566", email="two@example.com", birthDate="2000-01-01")
    await adapter.sql("UPDATE crm.customers SET registered_at = now() - interval '1 day' WHERE email IS NULL")
    return by_phone, by_email


BOTH = {"msisdn": "79161112233", "email": "two@example.com"}


async def test_several_people_are_an_error_by_default(adapter: Adapter) -> None:
    await _two_people(adapter)
    assert (await adapter.get(FIND, **BOTH)).code == Code.SEVERAL_MATCH


async def test_a_birth_date_chooses_among_several_people(adapter: Adapter) -> None:
    by_phone, by_email = await _two_people(adapter)
    for born, number in (("1990-05-17", by_phone), ("2000-01-01", by_email)):
        found = await adapter.get(FIND, **BOTH, birthDate=born)
        assert found.body["card"]["cardNumber"] == number
    assert (await adapter.get(FIND, **BOTH, birthDate="1950-01-01")).code == Code.SEVERAL_MATCH


async def test_several_people_by_setting(start: StartAdapter) -> None:
    newest = await start(matching={"several": "newest"})
    by_phone, by_email = await _two_people(newest)
    assert (await newest.get(FIND, **BOTH)).body["card"]["cardNumber"] == by_email
    phone_first = await start(matching={"several": "phone"})
    assert (await phone_first.get(FIND, **BOTH)).body["card"]["cardNumber"] == by_phone


async def test_a_card_number_kept_by_the_crm_is_taken_over(adapter: Adapter) -> None:
    await adapter.register(phone="+79161112233", birth_date=date(1990, 5, 17))
    await adapter.sql("UPDATE crm.customers SET card_number = 'OLD-77'")
    for _ in range(2):
        found = await adapter.get(FIND, msisdn="79161112233")
        assert found.body["card"]["cardNumber"] == "OLD-77"
    assert (await adapter.get("/v1/card/OLD-77")).status == 200


async def test_taking_over_is_a_setting(start: StartAdapter) -> None:
    adapter = await start(cards={"adopt": False})
    await adapter.register(phone="+79161112233")
    await adapter.sql("UPDATE crm.customers SET card_number = 'OLD-77'")
    assert (await adapter.get(FIND, msisdn="79161112233")).body is None


async def test_other_crms_get_only_a_part_of_a_requests_time(adapter: Adapter) -> None:
    given: list[float] = []

    class Asked:
        async def points_account(self, holder: Holder, *, deadline: Deadline) -> None:
            given.append(deadline.remaining())
            assert deadline.optional

    points: Any = Asked()
    programme = dataclasses.replace(adapter.service.programme, points=points, foreign_ports=("points",))
    card = await adapter.service.cards.issue("17", None)
    for seconds in (60.0, 0.5):
        await remember_accounts(programme, card, Customer("17", Profile()), Deadline.after(seconds))
    assert given[0] <= 1.0
    assert given[1] <= 0.25
