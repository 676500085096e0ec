"""Scenarios U: a driver of the users port; those on cards are in ``cards``.

They are told in prose in ``SCENARIOS.md``. This module may not know any driver.
"""
# ruff: noqa: S101

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping

import pytest

from crm_backends.conformance.base import (
    assert_refused,
    effects,
    is_there,
    needs,
    nothing_changes,
    soon,
)
from crm_backends.conformance.cards import CardScenarios
from crm_backends.conformance.port_calls import (
    CALLS,
    find,
    got,
    listed,
    new_key,
    new_person,
    new_subject,
    of_port,
    users,
)
from crm_backends.conformance.rig import Rig
from crm_backends.model import ChannelConsents, Profile
from crm_backends.ports import (
    AccountUnknown,
    Backend,
    FindsByCard,
    KeepsCards,
    NotSupported,
    Outcome,
    ReconcilesRegistration,
    Reconciliation,
    Refusal,
    Written,
)


class BaseUsers(CardScenarios):
    """A driver of the users port."""

    @pytest.mark.parametrize("operation", of_port("users"))
    async def test_it_does_what_it_declares_and_refuses_the_rest(
        self, rig: Rig, backend: Backend, operation: str
    ) -> None:
        """U1. Every operation a driver declares is carried out; any other is refused before it is sent."""
        await assert_as_declared(rig, backend, operation)

    @needs("users.find")
    async def test_a_customer_is_found_by_phone(self, rig: Rig, backend: Backend) -> None:
        """U2. A customer is found by phone, with its id."""
        holder = await rig.new_customer(new_person())
        await rig.new_customer(new_person())
        found = await find(backend, phone=holder.profile.phone)
        assert set(found) == {holder.users_reference}
        assert found[holder.users_reference].profile.phone == holder.profile.phone

    @needs("users.find")
    async def test_a_customer_is_found_by_email_in_any_case(self, rig: Rig, backend: Backend) -> None:
        """U3. A customer is found by e-mail, in capitals or not."""
        holder = await rig.new_customer(new_person())
        email = holder.profile.email or ""
        for written in (email, email.upper()):
            assert set(await find(backend, email=written)) == {holder.users_reference}

    @needs("users.find")
    async def test_phone_of_one_and_email_of_another_find_both(self, rig: Rig, backend: Backend) -> None:
        """U4. The phone of one and the e-mail of another find both."""
        one, other = await rig.new_customer(new_person()), await rig.new_customer(new_person())
        found = await find(backend, phone=one.profile.phone, email=other.profile.email)
        assert set(found) == {one.users_reference, other.users_reference}

    @needs("users.find")
    async def test_nobody_is_found_by_what_nobody_has(self, rig: Rig, backend: Backend) -> None:
        """U5. Nobody is found by a phone nobody has, nor by a birth date alone."""
        holder = await rig.new_customer(new_person())
        stranger = new_person()
        assert await find(backend, phone=stranger.phone, birth_date=holder.profile.birth_date) == {}
        assert await find(backend, birth_date=holder.profile.birth_date) == {}

    @needs("users.get")
    async def test_a_customer_is_got_by_its_id(self, rig: Rig, backend: Backend) -> None:
        """U6. A customer is got by its id; what is known of a person is told as it was given."""
        holder = await rig.new_customer(new_person())
        known = await got(backend, holder.users_reference)
        assert known.customer_id == holder.users_reference
        _assert_as_given(known.profile, holder.profile)
        assert known.registered_at is None or known.registered_at.tzinfo is not None

    @needs("users.get")
    async def test_an_id_nobody_has_gets_nobody(self, rig: Rig, backend: Backend) -> None:
        """U7. An id nobody has gets nobody."""
        assert await users(backend).get(rig.nobody, deadline=soon()) is None

    @needs("users.register")
    async def test_a_registered_customer_is_known_by_the_id_returned(
        self, rig: Rig, backend: Backend
    ) -> None:
        """U8. A registration is DONE with the id by which the customer is known from then on."""
        person = new_person()
        async with effects(rig, "users.register", 1):
            written = await users(backend).register(person, idempotency_key=new_key(backend), deadline=soon())
        assert written.outcome is Outcome.DONE
        assert written.crm_reference
        if is_there(backend, "users.get"):
            _assert_as_given((await got(backend, written.crm_reference)).profile, person)
        if is_there(backend, "users.find"):
            assert set(await find(backend, phone=person.phone)) == {written.crm_reference}

    @needs("users.register")
    async def test_a_phone_that_has_a_customer_gets_no_second(self, rig: Rig, backend: Backend) -> None:
        """U9. Registering a phone that has a customer gives that customer, or is REFUSED as a conflict."""
        holder = await rig.new_customer(new_person())
        again = dataclasses.replace(new_person(), phone=holder.profile.phone)
        async with effects(rig, "users.register", 0):
            written = await users(backend).register(again, idempotency_key=new_key(backend), deadline=soon())
        if written.outcome is Outcome.DONE:
            assert written.crm_reference == holder.users_reference
        else:
            assert_refused(written, Refusal.CONFLICT)

    @needs("users.register")
    async def test_a_phone_registered_ten_times_at_once_has_one_customer(
        self, rig: Rig, backend: Backend
    ) -> None:
        """U10. Ten registrations of one phone at once make one customer."""
        person = new_person()
        async with effects(rig, "users.register", 1):
            ends = await asyncio.gather(
                *(
                    users(backend).register(person, idempotency_key=new_key(backend), deadline=soon())
                    for _ in range(10)
                )
            )
        assert len({end.crm_reference for end in ends if end.outcome is Outcome.DONE}) == 1
        for end in ends:
            assert end.outcome is Outcome.DONE or end.refusal is Refusal.CONFLICT

    @needs("users.update")
    async def test_an_update_sets_what_is_given_and_nothing_else(self, rig: Rig, backend: Backend) -> None:
        """U11. An update sets the fields that are given, leaves the others, and may be sent again."""
        holder = await rig.new_customer(new_person())
        before = await got(backend, holder.users_reference)
        change = Profile(first_name="Аглая", locality="Чухлома")
        for _ in range(2):
            written = await users(backend).update(holder.users_reference, change, deadline=soon())
            assert written.outcome is Outcome.DONE
        after = await got(backend, holder.users_reference)
        assert after.profile == dataclasses.replace(before.profile, first_name="Аглая", locality="Чухлома")

    @needs("users.update")
    async def test_an_update_of_nobody_is_refused(self, rig: Rig, backend: Backend) -> None:
        """U12. An update of a customer nobody knows is REFUSED as such."""
        async with nothing_changes(rig):
            written = await users(backend).update(rig.nobody, Profile(locality="Чухлома"), deadline=soon())
        assert_refused(written, Refusal.NO_SUCH_CUSTOMER)

    @needs("users.set_consents")
    async def test_consents_change_the_channels_named_and_no_other(self, rig: Rig, backend: Backend) -> None:
        """U13. Consents set the channels that are named and leave the others as they were."""
        customer = (await rig.new_customer(new_person())).users_reference
        steps = (
            ChannelConsents(allow=frozenset({"sms", "email"}), deny=frozenset({"call"})),
            ChannelConsents(allow=frozenset({"call"}), deny=frozenset({"sms"})),
        )
        for consents in steps:
            written = await users(backend).set_consents(customer, consents, deadline=soon())
            assert written.outcome is Outcome.DONE
        kept = await rig.consents(customer)
        assert (kept["sms"], kept["email"], kept["call"]) == (False, True, True)
        assert not kept.get("push", False)

    @needs("users.set_consents")
    async def test_consents_of_nobody_are_refused(self, rig: Rig, backend: Backend) -> None:
        """U14. Consents of a customer nobody knows are REFUSED as such."""
        consents = ChannelConsents(allow=frozenset({"sms"}), deny=frozenset())
        async with nothing_changes(rig):
            written = await users(backend).set_consents(rig.nobody, consents, deadline=soon())
        assert_refused(written, Refusal.NO_SUCH_CUSTOMER)

    @needs("users.list_phones")
    async def test_all_phones_are_listed_once(self, rig: Rig, backend: Backend) -> None:
        """U15. Every customer's phone is listed once, as E.164, in both lists alike."""
        people = [(await rig.new_customer(new_person())).profile for _ in range(3)]
        phones = await listed(backend)
        assert {person.phone for person in people} <= set(phones)
        assert len(set(phones)) == len(phones)
        assert all(phone.startswith("+") and phone[1:].isdigit() for phone in phones)
        assert [one.phone async for batch in users(backend).list_users() for one in batch] == phones

    @needs("users.register")
    async def test_a_registration_whose_answer_is_lost_is_reconciled(
        self, rig: Rig, backend: Backend
    ) -> None:
        """U16. A registration whose answer is lost is UNKNOWN, reconciled as declared, and happened once."""
        person, key = new_person(), new_key(backend)
        async with effects(rig, "users.register", 1):
            await rig.lose_reply("users.register")
            sent = await users(backend).register(person, idempotency_key=key, deadline=soon())
            assert sent == Written.unknown()
            if backend.reconciliation is not Reconciliation.MANUAL:
                reconciled = await _reconcile(backend, person, key)
                assert reconciled.outcome is Outcome.DONE
                assert reconciled.crm_reference
                if is_there(backend, "users.find"):
                    assert set(await find(backend, phone=person.phone)) == {reconciled.crm_reference}

    @needs("users.register")
    async def test_a_registration_that_was_lost_is_never_taken_as_done(
        self, rig: Rig, backend: Backend
    ) -> None:
        """U17. A registration that was lost on its way is UNKNOWN, and is never reconciled as DONE."""
        person, key = new_person(), new_key(backend)
        async with effects(rig, "users.register", 0):
            await rig.lose_request("users.register")
            sent = await users(backend).register(person, idempotency_key=key, deadline=soon())
            assert sent == Written.unknown()
            if backend.reconciliation in (Reconciliation.PROBE, Reconciliation.COMPARE):
                sent = await _reconcile(backend, person, key)
                assert sent in (Written.not_sent(), Written.unknown())
        if backend.reconciliation is Reconciliation.KEY or sent == Written.not_sent():
            async with effects(rig, "users.register", 1):
                again = await users(backend).register(person, idempotency_key=key, deadline=soon())
            assert again.outcome is Outcome.DONE

    @needs("users.register", Reconciliation.KEY, Reconciliation.PROBE)
    async def test_a_key_of_another_person_is_a_conflict(self, rig: Rig, backend: Backend) -> None:
        """U18. A key that the CRM has stored for another person is a conflict, never done."""
        key = new_key(backend)
        first = await users(backend).register(new_person(), idempotency_key=key, deadline=soon())
        assert first.outcome is Outcome.DONE
        async with nothing_changes(rig):
            reconciled = await _reconcile(backend, new_person(), key)
        if backend.reconciliation is Reconciliation.KEY or reconciled.outcome is Outcome.REFUSED:
            assert_refused(reconciled, Refusal.KEY_TAKEN)
        assert reconciled.outcome is not Outcome.DONE
        assert reconciled.crm_reference is None


_OPTIONAL: Mapping[str, type] = {"users.find_by_card": FindsByCard, "users.set_card": KeepsCards}
"""Operations of protocols of their own, which a driver without them need not have."""


async def assert_as_declared(rig: Rig, backend: Backend, operation: str) -> None:
    """The operation is done, or raises NotSupported although the CRM could not even be asked."""
    protocol = _OPTIONAL.get(operation)
    if protocol is not None and not isinstance(backend, protocol):
        assert not is_there(backend, operation)
        return
    about = await new_subject(rig, backend)
    if is_there(backend, operation):
        try:
            end = await CALLS[operation](backend, about, soon())
        except AccountUnknown:
            return  # it was asked: this one's account is opened by the first credit
        assert not isinstance(end, Written) or end.outcome is Outcome.DONE
    else:
        await rig.away()
        with pytest.raises(NotSupported) as caught:
            await CALLS[operation](backend, about, soon())
        assert str(caught.value).strip(), "the refusal does not say what is not supported"


def _assert_as_given(told: Profile, given: Profile) -> None:
    """No field was changed on its way; a CRM may keep less than it was given, but not the phone."""
    assert told.phone == given.phone
    for field in dataclasses.fields(Profile):
        value = getattr(told, field.name)
        assert value is None or value == getattr(given, field.name), f"{field.name} is told otherwise"


async def _reconcile(backend: Backend, person: Profile, key: str) -> Written:
    """Reconcile the doubt as the driver declares."""
    if backend.reconciliation is Reconciliation.KEY:
        return await users(backend).register(person, idempotency_key=key, deadline=soon())
    assert isinstance(backend, ReconcilesRegistration)
    return await backend.reconcile_register(person, idempotency_key=key, deadline=soon())
