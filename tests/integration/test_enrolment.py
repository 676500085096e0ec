"""KLO-5, KLO-6, KLO-11: reserve and issue cards."""

from __future__ import annotations

import asyncio
from datetime import date

from adapter.errors import Code

from .conftest import Adapter, StartAdapter, new_phone

ANONYMOUS = "/v1/card/anonymous"


async def test_a_reserved_number_is_issued_to_a_new_person(adapter: Adapter) -> None:
    reserved = await adapter.get(ANONYMOUS)
    number = reserved.body["card"]["cardNumber"]
    assert reserved.body["card"]["cardState"] == "inactive"
    profile = {"phone": "79161112233", "firstname": "Анна", "birthDate": "1990-05-17", "sex": "ж"}
    issued = await adapter.post(f"{ANONYMOUS}/{number}", profile)
    assert (issued.status, issued.body) == (200, None)
    found = await adapter.get("/v1/card", msisdn="79161112233")
    assert found.body["card"]["cardNumber"] == number
    assert await adapter.sql("SELECT sex FROM crm.customers") == "f"


async def test_issuing_again_for_the_same_person_is_a_success(adapter: Adapter) -> None:
    number = await adapter.reserve()
    for _ in range(3):
        assert (await adapter.post(f"{ANONYMOUS}/{number}", {"phone": "79161112233"})).status == 200
    assert await adapter.issue(phone="79161112233") == number
    assert await adapter.sql("SELECT count(*) FROM crm.customers") == 1


async def test_the_reserve_answer_may_be_the_bare_number(start: StartAdapter) -> None:
    adapter = await start(koshelek={"reserve_answer": "number"})
    answer = await adapter.get(ANONYMOUS)
    assert isinstance(answer.body, str)
    assert len(answer.body) == 13


async def test_a_number_never_reserved_is_refused(adapter: Adapter) -> None:
    free = await adapter.plastic(500, "free")
    for number in ("2900000000018", free, "no-such"):
        answer = await adapter.post(f"{ANONYMOUS}/{number}", {"phone": new_phone()})
        assert answer.code == Code.NOT_RESERVED
    assert await adapter.sql("SELECT count(*) FROM crm.customers") == 0


async def test_an_expired_reservation_is_refused_and_the_number_goes_round(start: StartAdapter) -> None:
    adapter = await start(cards={"ranges": []})
    free = await adapter.plastic(500, "free")
    assert await adapter.reserve() == free
    assert (await adapter.get(ANONYMOUS)).code == Code.NO_NUMBERS
    await adapter.sql("UPDATE koshelek.cards SET reserved_until = now() - interval '1 second'")
    answer = await adapter.post(f"{ANONYMOUS}/{free}", {"phone": new_phone()})
    assert answer.code == Code.RESERVATION_EXPIRED
    assert await adapter.reserve() == free


async def test_a_number_used_by_another_person_is_refused(adapter: Adapter) -> None:
    number = await adapter.issue(phone=new_phone())
    answer = await adapter.post(f"{ANONYMOUS}/{number}", {"phone": new_phone()})
    assert answer.code == Code.NUMBER_USED


async def test_a_person_with_a_card_gets_no_second_one(adapter: Adapter) -> None:
    await adapter.issue(phone="79161112233")
    number = await adapter.reserve()
    answer = await adapter.post(f"{ANONYMOUS}/{number}", {"phone": "79161112233"})
    assert answer.code == Code.HAS_ANOTHER_CARD


async def test_the_owner_of_a_blocked_card_gets_no_other(adapter: Adapter) -> None:
    await adapter.service.cards.block(await adapter.issue(phone="79161112233"))
    assert (await adapter.post(ANONYMOUS, {"phone": "79161112233"})).code == Code.CARD_BLOCKED
    number = await adapter.reserve()
    answer = await adapter.post(f"{ANONYMOUS}/{number}", {"phone": "79161112233"})
    assert answer.code == Code.CARD_BLOCKED


async def test_plastic_without_an_owner_is_shown_and_registered(adapter: Adapter) -> None:
    number = await adapter.plastic(77)
    info = await adapter.get(f"/v1/card/{number}")
    assert info.body["card"]["cardState"] == "inactive"
    assert info.body["card"]["bonus"]["total"] == "0"
    assert (await adapter.post(f"{ANONYMOUS}/{number}", {"phone": "79161112233"})).status == 200
    assert (await adapter.get("/v1/card", msisdn="79161112233")).body["card"]["cardNumber"] == number


async def test_fifty_parallel_issues_for_one_person_make_one_card(adapter: Adapter) -> None:
    numbers = await asyncio.gather(*[adapter.issue(phone="79161112233") for _ in range(50)])
    assert len(set(numbers)) == 1
    assert await adapter.sql("SELECT count(*) FROM crm.customers") == 1
    assert await adapter.sql("SELECT count(*) FROM koshelek.cards WHERE state = 'active'") == 1


async def test_fifty_parallel_reservations_give_fifty_numbers(adapter: Adapter) -> None:
    for value in range(500, 520):
        await adapter.plastic(value, "free")
    numbers = await asyncio.gather(*[adapter.reserve() for _ in range(50)])
    assert len(set(numbers)) == 50


async def test_parallel_issues_of_reserved_numbers_for_one_person_make_one_card(adapter: Adapter) -> None:
    numbers = [await adapter.reserve() for _ in range(10)]
    answers = await asyncio.gather(
        *[adapter.post(f"{ANONYMOUS}/{number}", {"phone": "79161112233"}) for number in numbers]
    )
    assert sorted(answer.status for answer in answers) == [200] + [422] * 9
    assert {answer.code for answer in answers if answer.status == 422} == {Code.HAS_ANOTHER_CARD}


async def test_a_range_leaves_out_numbers_that_are_in_use(adapter: Adapter) -> None:
    taken = {await adapter.plastic(value) for value in range(1, 300)}
    assert await adapter.reserve() not in taken


async def test_the_pool_is_used_before_the_ranges(adapter: Adapter) -> None:
    pool = await adapter.plastic(900, "free")
    assert await adapter.reserve() == pool
    assert await adapter.reserve() != pool


async def test_an_existing_customer_is_linked_by_phone_and_gaps_are_filled(adapter: Adapter) -> None:
    reference = await adapter.register(phone="+79161112233", first_name="Anna")
    await adapter.issue(phone="79161112233", firstname="Anya", surname="Demo")
    row = await adapter.service.pool.fetchrow("SELECT id, first_name, surname FROM crm.customers")
    assert row is not None
    assert (str(row["id"]), row["first_name"], row["surname"]) == (reference, "Anna", "Demo")


async def test_an_existing_customer_is_not_linked_by_an_unconfirmed_email(adapter: Adapter) -> None:
    await adapter.register(phone="+79160000001", email="anna@example.com")
    answer = await adapter.post(ANONYMOUS, {"phone": "79161112233", "email": "anna@example.com"})
    assert answer.code == Code.WEAK_MATCH


async def test_an_email_links_when_the_birth_date_agrees_and_no_phone_is_known(adapter: Adapter) -> None:
    reference = await adapter.register(email="anna@example.com", birth_date=date(1990, 5, 17))
    profile = {"phone": "79161112233", "email": "anna@example.com"}
    assert (await adapter.post(ANONYMOUS, profile)).code == Code.WEAK_MATCH
    await adapter.issue(**profile, birthDate="1990-05-17")
    assert await adapter.sql("SELECT users_reference FROM koshelek.cards") == reference
    assert await adapter.sql("SELECT phone FROM crm.customers") == "+79161112233"


async def test_linking_by_email_is_a_setting(start: StartAdapter) -> None:
    always = await start(matching={"link_by_email": "always"})
    reference = await always.register(phone="+79160000001", email="anna@example.com")
    await always.issue(phone="79161112233", email="anna@example.com")
    assert await always.sql("SELECT users_reference FROM koshelek.cards") == reference
    never = await start(matching={"link_by_email": "never"})
    await never.register(email="boris@example.com", birth_date=date(1990, 5, 17))
    profile = {"phone": new_phone(), "email": "boris@example.com", "birthDate": "1990-05-17"}
    assert (await never.post(ANONYMOUS, profile)).code == Code.WEAK_MATCH


async def test_a_phone_is_required_and_more_by_setting(start: StartAdapter) -> None:
    adapter = await start(enrolment={"required": ["phone", "birth_date"]})
    answer = await adapter.post(ANONYMOUS, {"email": "a@example.com"})
    assert answer.code == Code.FIELD_MISSING
    assert answer.body["description"].endswith("phone")
    answer = await adapter.post(ANONYMOUS, {"phone": "79161112233"})
    assert answer.body["description"].endswith("birthDate")


async def test_no_numbers_left_is_said(start: StartAdapter) -> None:
    adapter = await start(cards={"ranges": []})
    assert (await adapter.post(ANONYMOUS, {"phone": new_phone()})).code == Code.NO_NUMBERS


async def test_a_phone_that_went_to_another_person_does_not_lead_to_the_former_ones_card(
    adapter: Adapter,
) -> None:
    first = await adapter.issue(phone="79161112233", firstname="Anna")
    assert (await adapter.post(f"/v1/card/{first}", {"phone": "79161112244"})).status == 200
    second = await adapter.issue(phone="79161112233", firstname="Boris")
    assert second != first
    await adapter.sql("UPDATE crm.customers SET phone = NULL WHERE first_name = 'Boris'")
    await adapter.sql(
        "UPDATE koshelek.operations SET finished_at = finished_at - interval '1 hour' "
        "WHERE kind = 'registration'"
    )
    assert await adapter.issue(phone="79161112233", firstname="Vera") not in (first, second)
    assert await adapter.issue(phone="79161112244") == first


async def test_without_phone_and_email_nobody_is_registered(start: StartAdapter) -> None:
    adapter = await start(enrolment={"required": []})
    for name in ("Anna", "Boris"):
        answer = await adapter.post(ANONYMOUS, {"firstname": name})
        assert (answer.code, answer.body["description"][-5:]) == (Code.FIELD_MISSING, "phone")
    assert await adapter.sql("SELECT count(*) FROM crm.customers") == 0


async def test_an_email_alone_makes_one_card_however_it_is_spelled(start: StartAdapter) -> None:
    adapter = await start(enrolment={"required": ["email"]}, matching={"link_by_email": "always"})
    number = await adapter.issue(email="Anna@Example.com")
    assert await adapter.issue(email="anna@example.COM") == number


async def test_a_customer_lost_by_the_crm_can_enrol_again(adapter: Adapter) -> None:
    await adapter.issue(phone="79161112233")
    await adapter.sql("DELETE FROM crm.customers")
    # For an hour the registration is believed: a CRM's search may be behind what it has just confirmed.
    await adapter.sql("UPDATE koshelek.operations SET finished_at = finished_at - '2 hours'::interval")
    await adapter.issue(phone="79161112233")
    assert await adapter.sql("SELECT count(*) FROM crm.customers") == 1
