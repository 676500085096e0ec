"""Reserve and issue cards: KLO-5, KLO-6, KLO-11.

A person gets one card, however often and from however many connections the call is repeated. An
existing customer is linked on a confirmed phone; an e-mail alone is a weak match.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

from adapter.errors import Code, Refused
from adapter.loyalty import coupon_triggers
from adapter.loyalty.finding import choose, people_with
from adapter.loyalty.model import (
    Card,
    CardState,
    NewOperation,
    Operation,
    OperationKind,
    OperationState,
)
from adapter.loyalty.payloads import RegistrationPayload
from adapter.loyalty.programme import Programme, remember_accounts
from adapter.loyalty.standing import issuable, persons_card, vacant_number
from crm_backends.model import Customer, Profile
from crm_backends.ports import Deadline

_WIRE_NAMES = {"first_name": "firstname", "birth_date": "birthDate"}
_JUST_NOW = timedelta(minutes=1)
"""A registration that is no older may have been made by a parallel call, after this call looked for the
person."""
_BELIEVED = timedelta(hours=1)
"""For so long a confirmed registration is believed although the CRM does not show the person."""


async def reserve_number(programme: Programme, deadline: Deadline) -> Card:
    """Take a number out of circulation for ``cards.reservation`` seconds. Raises ``Refused(NO_NUMBERS)``."""
    return await vacant_number(programme, deadline)


async def issue_card(programme: Programme, profile: Profile, number: str | None, deadline: Deadline) -> Card:
    """Give the person a card: the reserved or ownerless ``number``, or the next free number if none is given.

    The same person again gets the same card. Raises ``Refused``: FIELD_MISSING, WEAK_MATCH,
    SEVERAL_MATCH, REGISTRATION_REFUSED, STILL_WORKING, and what ``CardRegistry.issue`` and ``persons_card``
    raise.
    """
    given = profile.given()
    for field in programme.settings.enrolment.required:
        if field not in given:
            raise Refused(Code.FIELD_MISSING, _WIRE_NAMES.get(field, field))
    if profile.phone is None and profile.email is None:
        raise Refused(Code.FIELD_MISSING, "phone")  # nothing else identifies a person
    owner = None if number is None else await _must_be_issuable(programme, number, deadline)
    known = await _recognise(programme, profile, deadline)
    if owner is not None and (known is None or known.customer_id != owner.customer_id):
        known = await _must_be_the_owner(programme, owner, profile, deadline)
    if known is None:
        customer_id = await _register(programme, profile, deadline)
        known = Customer(customer_id, profile)
        owned = await _owned(programme, customer_id)
        if owned is not None:
            await _must_be_the_person(programme, customer_id, profile, deadline)
        card = await _card_for(programme, customer_id, number, owned, deadline)
    else:
        customer_id = known.customer_id
        owned = await persons_card(programme, known, await _owned(programme, customer_id), deadline)
        await _fill_gaps(programme, known, profile, deadline)
        card = await _card_for(programme, customer_id, number, owned, deadline)
    email = known.profile.email or profile.email
    if programme.emails is not None and email is not None:
        await programme.emails.note(customer_id, email)
    if card.state is CardState.BLOCKED:
        raise Refused(Code.CARD_BLOCKED)
    await remember_accounts(programme, card, known, deadline)
    await coupon_triggers.card_issued(programme, card)
    await coupon_triggers.card_to_be_told(programme, card, known)
    return card


async def _must_be_issuable(programme: Programme, number: str, deadline: Deadline) -> Customer | None:
    """Refuse a number that cannot be issued before anybody is registered for it.

    The registry decides the rest. Returns the owner that the number has in the users CRM already.
    """
    card, owner = await issuable(programme, number, deadline)
    if card is None or card.state is CardState.FREE:
        raise Refused(Code.NOT_RESERVED)
    if card.state is CardState.BLOCKED:
        raise Refused(Code.CARD_BLOCKED)
    if card.replaced_by is not None and programme.settings.cards.replaced_answer == "unknown":
        raise Refused(Code.NOT_RESERVED)
    if card.state is CardState.INACTIVE and card.users_reference is None:
        raise Refused(Code.CARD_NOT_ACTIVE)
    if (
        card.state is CardState.RESERVED
        and card.reserved_until is not None
        and card.reserved_until <= programme.now()
    ):
        raise Refused(Code.RESERVATION_EXPIRED)
    return owner


async def _must_be_the_person(
    programme: Programme, customer_id: str, profile: Profile, deadline: Deadline
) -> None:
    """Refuse the card of somebody else, where the CRM gives a new customer an id that somebody has already.

    A parallel call may have registered the same person, and the CRM's search may not show them yet.

    Raises ``Refused(CONFLICT)``: the CRM knows the customer with another phone.
    """
    told = await programme.users.get(customer_id, deadline=deadline)
    has = None if told is None else told.profile.phone
    if profile.phone is not None and has is not None and has != profile.phone:
        raise Refused(Code.CONFLICT)


async def _must_be_the_owner(
    programme: Programme, owner: Customer, profile: Profile, deadline: Deadline
) -> Customer:
    """The number's owner in the CRM, if that is this person, whom the CRM's search may not show yet.

    Raises ``Refused(NUMBER_USED)``: the owner is somebody else.
    """
    if owner.profile.phone is None:
        owner = await programme.users.get(owner.customer_id, deadline=deadline) or owner
    if profile.phone is None or owner.profile.phone != profile.phone:
        raise Refused(Code.NUMBER_USED)
    return owner


async def _card_for(
    programme: Programme, customer_id: str, number: str | None, owned: Card | None, deadline: Deadline
) -> Card:
    """The card ``owned`` or, if that is ``None``, the given number or the next free number."""
    if number is not None or programme.crm_cards is None:
        return await programme.cards.issue(customer_id, number)
    if owned is not None:
        return owned
    vacant = await vacant_number(programme, deadline)
    try:
        return await programme.cards.issue(customer_id, vacant.number)
    except Refused:
        await programme.cards.release(vacant.number)
        # A parallel call was faster: the card that it gave the person is theirs.
        owned = await _owned(programme, customer_id)
        if owned is None:
            raise
        return owned


async def _owned(programme: Programme, customer_id: str) -> Card | None:
    """The card of this customer in the registry."""
    return next(iter(await programme.cards.of_customers([customer_id])), None)


async def _recognise(programme: Programme, profile: Profile, deadline: Deadline) -> Customer | None:
    """The existing customer that is this person, if there is one. Raises ``Refused`` if that is not clear."""
    found = await people_with(
        programme.users,
        programme.emails,
        phone=profile.phone,
        email=profile.email,
        birth_date=profile.birth_date,
        deadline=deadline,
    )
    by_phone = [person for person in found if profile.phone and person.profile.phone == profile.phone]
    if by_phone:
        return choose(programme, by_phone, phone=profile.phone, birth_date=profile.birth_date)
    if not found:
        return None
    return _weak_match(programme, profile, found)


def _weak_match(programme: Programme, profile: Profile, found: Sequence[Customer]) -> Customer:
    """Decide about customers who were found by e-mail only, which Koshelek has not confirmed."""
    rule = programme.settings.matching.link_by_email
    if rule == "always":
        return choose(programme, found, phone=profile.phone, birth_date=profile.birth_date)
    if rule == "birth_date":
        sure = [
            person
            for person in found
            if person.profile.phone is None
            and person.profile.birth_date is not None
            and person.profile.birth_date == profile.birth_date
        ]
        if len(sure) == 1:
            return sure[0]
    raise Refused(Code.WEAK_MATCH)


async def _fill_gaps(programme: Programme, known: Customer, profile: Profile, deadline: Deadline) -> None:
    """Add to an existing customer the fields that the CRM does not know; a known field is never overwritten.

    The card is issued even if the CRM refuses the addition (the e-mail may be another customer's).
    """
    has = known.profile.given()
    missing = {name: value for name, value in profile.given().items() if name not in has}
    contacts = [str(missing[name]) for name in ("phone", "email") if name in missing]
    if contacts and not await programme.contact_claims.claim(contacts, known.customer_id):
        return
    if missing:
        gaps = dataclasses.replace(Profile(), **cast(dict[str, Any], missing))
        await programme.users.update(known.customer_id, gaps, deadline=deadline)


def _is_still(customer: Customer | None, profile: Profile, registration: Operation) -> bool:
    """Whether the registered person still has this phone or e-mail: a phone may pass to somebody else.

    If the CRM does not show the person, or not the phone, that counts only after a while: its search may be
    behind what it has just confirmed.
    """
    if customer is None:
        return registration.since_finished < _BELIEVED
    has = customer.profile.email if profile.phone is None else customer.profile.phone
    wanted = profile.phone or profile.email or ""
    if has is None:
        return registration.since_finished < _JUST_NOW
    return has.lower() == wanted.lower()


async def _register(programme: Programme, profile: Profile, deadline: Deadline) -> str:
    """Register the person once, through the ledger; returns their id in the users CRM.

    Raises ``Refused``: REGISTRATION_REFUSED, CONFLICT, STILL_WORKING, NOT_SUPPORTED.
    """
    if OperationKind.REGISTRATION in programme.cannot:
        raise Refused(Code.NOT_SUPPORTED)
    contacts = [contact for contact in (profile.phone, profile.email) if contact is not None]
    if await programme.contact_claims.are_claimed(contacts):  # the CRM's search may not show yet whose it is
        raise Refused(Code.CONFLICT)
    new = NewOperation(
        identity=profile.phone or f"email:{profile.email}",
        card_number=None,
        fingerprint="",
        payload=RegistrationPayload(profile),
        idempotency_key=programme.new_key(OperationKind.REGISTRATION),
    )
    operation, created = await programme.operations.record(new)
    if not created and operation.state is OperationState.DONE and operation.crm_reference is not None:
        # Registered by an earlier or parallel call, unless the CRM has lost the customer since.
        customer = await programme.users.get(operation.crm_reference, deadline=deadline)
        if _is_still(customer, profile, operation):
            return operation.crm_reference
        await programme.operations.retire(operation)
        operation, _ = await programme.operations.record(new)
    patience = min(programme.settings.enrolment.wait, deadline.remaining())
    operation = await programme.operations.wait(operation, patience)
    if operation.state is OperationState.DONE and operation.crm_reference is not None:
        return operation.crm_reference
    if operation.state is OperationState.REFUSED:
        raise Refused(operation.code or Code.REGISTRATION_REFUSED)
    raise Refused(Code.STILL_WORKING)
