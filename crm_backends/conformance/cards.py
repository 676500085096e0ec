"""Scenarios U19 to U28: the cards that a driver of the users port can be asked for, or is told of.

They are told in prose in ``SCENARIOS.md``. This module may not know any driver.
"""
# ruff: noqa: S101

from __future__ import annotations

import pytest

from crm_backends.conformance.base import (
    Conformance,
    assert_refused,
    effects,
    is_there,
    needs,
    nothing_changes,
    soon,
)
from crm_backends.conformance.port_calls import (
    by_card,
    find,
    got,
    new_card_number,
    new_key,
    new_person,
    set_card,
)
from crm_backends.conformance.rig import NoSuchState, Rig
from crm_backends.model import CrmCard
from crm_backends.ports import Backend, Outcome, Refusal, Written


class CardScenarios(Conformance):
    """Part of ``BaseUsers``."""

    @needs("users.find_by_card")
    async def test_a_card_is_found_by_its_number_with_its_owner(self, rig: Rig, backend: Backend) -> None:
        """U19. A card is found by its number, active and with its owner."""
        holder, other = await rig.new_customer(new_person()), await rig.new_customer(new_person())
        number = await rig.give_card(holder)
        await rig.give_card(other)
        card = await _card(backend, number)
        assert (card.number, card.state, card.replaced_by) == (number, "active", None)
        assert card.customer is not None
        assert card.customer.customer_id == holder.users_reference

    @needs("users.find_by_card")
    async def test_plastic_without_an_owner_is_found_as_such(self, rig: Rig, backend: Backend) -> None:
        """U20. Plastic that nobody has is found without an owner."""
        number = await rig.plastic()
        if number is None:
            pytest.skip("this CRM keeps no card without a customer")
        card = await _card(backend, number)
        assert (card.number, card.state, card.customer) == (number, "active", None)

    @needs("users.find_by_card")
    async def test_a_number_the_crm_does_not_know_is_nothing(self, rig: Rig, backend: Backend) -> None:
        """U21. ``find_by_card`` returns None for a number that the CRM does not know."""
        await rig.give_card(await rig.new_customer(new_person()))
        assert await by_card(backend).find_by_card(new_card_number(), deadline=soon()) is None

    @needs("users.find_by_card")
    async def test_a_card_that_is_no_longer_good_is_told_as_such(self, rig: Rig, backend: Backend) -> None:
        """U22. A blocked, inactive or replaced card is told as such, and as active once it is again."""
        number = await rig.give_card(await rig.new_customer(new_person()))
        seen = 0
        for state in ("blocked", "inactive", "active", "replaced"):
            try:
                successor = await rig.change_card(number, state)
            except NoSuchState:
                continue
            card = await _card(backend, number)
            assert (card.state, card.replaced_by) == (state, successor)
            seen += 1
        assert seen, "no state of a card is ever told"

    @needs("users.find_by_card")
    async def test_the_state_of_a_card_is_told_with_its_owner(self, rig: Rig, backend: Backend) -> None:
        """U23. Where find and get tell the state of a customer's card, it is the one that the card has."""
        if not by_card(backend).find_tells_card_state:
            pytest.skip("the driver tells it when asked for the card alone")
        holder = await rig.new_customer(new_person())
        number = await rig.give_card(holder)
        for state in ("active", "blocked"):
            await rig.change_card(number, state)
            found = await find(backend, phone=holder.profile.phone)
            known = await got(backend, holder.users_reference)
            for customer in (found[holder.users_reference], known):
                assert (customer.card_number, customer.card_state) == (number, state)

    @needs("users.set_card")
    async def test_a_card_that_is_set_is_the_customers(self, rig: Rig, backend: Backend) -> None:
        """U24. A card that is set is the customer's, with its barcode; set again, it has no second effect."""
        holder, number = await rig.new_customer(new_person()), new_card_number()
        async with effects(rig, "users.set_card", 1):
            for _ in range(3):
                written = await set_card(backend, holder.users_reference, number, soon())
                assert written.outcome is Outcome.DONE
        kept, barcode = await rig.card_of(holder.users_reference)
        assert kept == number
        assert barcode in (f"B{number}", None)
        if is_there(backend, "users.find_by_card"):
            owner = (await _card(backend, number)).customer
            assert owner is not None
            assert owner.customer_id == holder.users_reference

    @needs("users.set_card")
    async def test_the_number_of_another_is_refused(self, rig: Rig, backend: Backend) -> None:
        """U25. The number of another customer is REFUSED as a conflict, and nothing is changed."""
        one, other = await rig.new_customer(new_person()), await rig.new_customer(new_person())
        number = new_card_number()
        assert (await set_card(backend, one.users_reference, number, soon())).outcome is Outcome.DONE
        async with nothing_changes(rig):
            written = await set_card(backend, other.users_reference, number, soon())
        assert_refused(written, Refusal.CONFLICT)

    @needs("users.set_card")
    async def test_a_card_of_nobody_is_refused(self, rig: Rig, backend: Backend) -> None:
        """U26. A card of a customer nobody knows is REFUSED as such."""
        async with nothing_changes(rig):
            written = await set_card(backend, rig.nobody, new_card_number(), soon())
        assert_refused(written, Refusal.NO_SUCH_CUSTOMER)

    @needs("users.set_card")
    async def test_the_card_a_customer_has_is_not_overwritten(self, rig: Rig, backend: Backend) -> None:
        """U27. A customer's card stays, unless the one set takes its place; an older card is REFUSED."""
        customer = (await rig.new_customer(new_person())).users_reference
        first, second = new_card_number(), new_card_number()
        assert (await set_card(backend, customer, first, soon())).outcome is Outcome.DONE
        async with nothing_changes(rig):
            assert_refused(await set_card(backend, customer, second, soon()), Refusal.CONFLICT)
        instead = await set_card(backend, customer, second, soon(), replaces=first)
        assert instead.outcome is Outcome.DONE
        assert (await rig.card_of(customer))[0] == second
        async with nothing_changes(rig):
            assert_refused(await set_card(backend, customer, first, soon()), Refusal.CONFLICT)

    @needs("users.set_card")
    async def test_a_card_whose_answer_is_lost_is_sent_again(self, rig: Rig, backend: Backend) -> None:
        """U28. A card whose answer is lost is UNKNOWN; sent again it is DONE, and it took effect once."""
        customer = (await rig.new_customer(new_person())).users_reference
        number, key = new_card_number(), new_key()
        async with effects(rig, "users.set_card", 1):
            await rig.lose_reply("users.set_card")
            sent = await set_card(backend, customer, number, soon(), idempotency_key=key)
            assert sent == Written.unknown()
            again = await set_card(backend, customer, number, soon(), idempotency_key=key)
            assert again.outcome is Outcome.DONE


async def _card(backend: Backend, number: str) -> CrmCard:
    card = await by_card(backend).find_by_card(number, deadline=soon())
    assert card is not None
    return card
