"""What a card holder sees and changes: card and balance, profile, consents, purchases, offers.

KLO-2, KLO-3, KLO-4, KLO-7 and KLO-8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from adapter.errors import Code, Refused
from adapter.loyalty.finding import people_with
from adapter.loyalty.model import OWNED, Card, CardState
from adapter.loyalty.ports import Port
from adapter.loyalty.programme import Programme, account_of, expect_done, owner_of
from adapter.loyalty.standing import card_with
from crm_backends.model import (
    Balance,
    ChannelConsents,
    Customer,
    Offer,
    PointsEntry,
    Profile,
    Purchase,
)
from crm_backends.ports import (
    AccountUnknown,
    BackendError,
    Deadline,
    HolderUnnamed,
    NotSupported,
    Outcome,
    Points,
)

ENTRIES_SHOWN = 50
"""Movements of points shown in a card info. The contract does not say how many."""

_NOTHING = Balance(total=Decimal(0), available=Decimal(0))


@dataclass(frozen=True, slots=True)
class CardInfo:
    """KLO-3: a card with its points; entries newest first, none of them zero."""

    card: Card
    balance: Balance
    entries: Sequence[PointsEntry]


async def card_info(programme: Programme, number: str, deadline: Deadline) -> CardInfo:
    """The card with its balance. A number without an owner is unknown, unless it is plastic.

    Raises ``Refused(CARD_UNKNOWN)``.
    """
    card = await _known_card(programme, number, deadline)
    if card.state not in OWNED and card.state is not CardState.OWNERLESS:
        raise Refused(Code.CARD_UNKNOWN)
    if programme.points is None or card.replaced_by is not None:
        return CardInfo(card, _NOTHING, ())
    try:
        account = await _account_shown(programme, card, "points", deadline)
        if account is None:
            raise AccountUnknown("no account is known of the card's owner", has_nothing=True)
        balance = await _balance(programme.points, account, deadline)
    except BackendError as error:  # the card's holder is to blame for none
        return CardInfo(card, await _instead(programme, card, error), ())
    if programme.balances is not None:
        programme.balances.note(card.number, balance)
    entries = await _entries(programme, programme.points, account, deadline)
    return CardInfo(card, balance, [entry for entry in entries if entry.amount])


async def _instead(programme: Programme, card: Card, error: BackendError) -> Balance:
    """The balance that is shown where the CRM tells none: the last that it told, if that is not too old.

    Zero is a statement about somebody's money. It is shown for an account that the CRM does not know only
    where no other balance of the card was ever told, and somebody without an account has nothing there.

    Raises ``error`` where there is no such balance.
    """
    balances = programme.balances
    if isinstance(error, AccountUnknown) and error.has_nothing:
        ever = None if balances is None else await balances.ever_told(card.number)
        if ever in (None, _NOTHING):
            return _NOTHING
    last = None
    if balances is not None:
        last = await balances.last_known(card.number, programme.settings.crm.stale_after)
    programme.untold_balances.note(error, shown=last is not None)
    if last is None:
        raise error
    return last


async def _account_shown(programme: Programme, card: Card, port: Port, deadline: Deadline) -> str | None:
    """The account whose contents are shown. ``None``: the CRM has no account, or cannot be told who the owner
    is."""
    try:
        return await account_of(programme, card, port, deadline)
    except HolderUnnamed:
        return None


async def _balance(points: Points, account: str, deadline: Deadline) -> Balance:
    """The balance; zero where the CRM has none to tell.

    The contract has no card without a balance (KLO-3-03, evidence: one), and the card is worth more to its
    holder than an error. ``check`` warns of it.
    """
    try:
        return await points.balance(account, deadline=deadline)
    except NotSupported:
        return _NOTHING


async def _entries(
    programme: Programme, points: Points, account: str, deadline: Deadline
) -> Sequence[PointsEntry]:
    """The movements; none where the CRM does not tell them: the balance that it has told is worth showing."""
    try:
        return await points.entries(account, limit=ENTRIES_SHOWN, deadline=deadline)
    except NotSupported:
        return ()
    except BackendError as error:
        programme.untold_balances.note_movements(error)
        return ()


async def _known_card(programme: Programme, number: str, deadline: Deadline) -> Card:
    """The card with this number. Raises ``Refused(CARD_UNKNOWN)`` when there is none."""
    card = await card_with(programme, number, deadline)
    if card is None or (
        card.replaced_by is not None and programme.settings.cards.replaced_answer == "unknown"
    ):
        raise Refused(Code.CARD_UNKNOWN)
    return card


async def _owned_card(programme: Programme, number: str, deadline: Deadline) -> Card:
    return _owned(await _known_card(programme, number, deadline))


def _owned(card: Card) -> Card:
    if card.state not in OWNED:
        raise Refused(Code.CARD_NOT_ACTIVE if card.state is CardState.OWNERLESS else Code.CARD_UNKNOWN)
    if card.users_reference is None:
        raise Refused(Code.CARD_NOT_ACTIVE)
    return card


async def active_card(programme: Programme, number: str, deadline: Deadline) -> Card:
    """A card that can take part: owned and active.

    Raises ``Refused``: CARD_UNKNOWN, CARD_BLOCKED, CARD_NOT_ACTIVE.
    """
    return must_be_active(await _owned_card(programme, number, deadline))


def must_be_active(card: Card) -> Card:
    """The card, if it can take part. Raises ``Refused``: CARD_BLOCKED, CARD_NOT_ACTIVE."""
    if card.state is CardState.BLOCKED:
        raise Refused(Code.CARD_BLOCKED)
    if card.state is not CardState.ACTIVE:
        raise Refused(Code.CARD_NOT_ACTIVE)
    return card


async def update_profile(programme: Programme, number: str, profile: Profile, deadline: Deadline) -> None:
    """Set the given fields of the owner; fields not given stay. Raises ``Refused(CONFLICT)`` and others."""
    card = await _owned_card(programme, number, deadline)
    owner = await owner_of(programme, card, deadline)
    if profile.is_empty():
        return
    phone, email = _new_contacts(owner, profile)
    claimed = phone is not None or email is not None
    if claimed:
        await _must_be_free(programme, owner, phone, email, deadline)
    written = await programme.users.update(owner.customer_id, profile, deadline=deadline)
    if claimed and written.outcome in (Outcome.REFUSED, Outcome.NOT_SENT):
        await programme.contact_claims.release(owner.customer_id)
    expect_done(written, Code.UPDATE_REFUSED)
    if programme.emails is not None and profile.email is not None:
        await programme.emails.note(owner.customer_id, profile.email)


def _new_contacts(owner: Customer, profile: Profile) -> tuple[str | None, str | None]:
    """Phone and e-mail, each ``None`` unless the owner is to get another one."""
    phone = profile.phone if profile.phone != owner.profile.phone else None
    email = profile.email if profile.email != owner.profile.email else None
    return phone, email


async def _must_be_free(
    programme: Programme, owner: Customer, phone: str | None, email: str | None, deadline: Deadline
) -> None:
    """Claim a new phone or e-mail for the owner, unless another customer has it, or is just getting it: not
    every CRM refuses that (KLO-4).

    Raises ``Refused(CONFLICT)``.
    """
    contacts = [contact for contact in (phone, email) if contact is not None]
    if not await programme.contact_claims.claim(contacts, owner.customer_id):
        raise Refused(Code.CONFLICT)
    found = await people_with(
        programme.users, programme.emails, phone=phone, email=email, birth_date=None, deadline=deadline
    )
    if any(person.customer_id != owner.customer_id for person in found):
        await programme.contact_claims.release(owner.customer_id)
        raise Refused(Code.CONFLICT)


async def set_consents(
    programme: Programme, number: str, consents: ChannelConsents, deadline: Deadline
) -> None:
    """Record the owner's consents here and, if the users CRM can keep consents, there too."""
    card = await _owned_card(programme, number, deadline)
    if not consents.allow and not consents.deny:
        return
    await programme.consents.record(card.number, consents)
    if programme.keeps_consents and card.users_reference is not None:
        written = await programme.users.set_consents(card.users_reference, consents, deadline=deadline)
        expect_done(written, Code.UPDATE_REFUSED)


async def purchases(
    programme: Programme, number: str, since: date, until: date | None, deadline: Deadline
) -> Sequence[Purchase]:
    """Purchase lines of whole days in the programme's zone, both ends included, newest first."""
    card = await _known_card(programme, number, deadline)
    if card.replaced_by is None:
        card = _owned(card)
    last = until or programme.now().date()
    if until is not None and until < since:
        raise Refused(Code.FIELD_INVALID, "endDate")
    if programme.points is None or last < since or card.replaced_by is not None:
        return ()
    account = await _account_shown(programme, card, "points", deadline)
    if account is None:
        return ()
    try:
        return await programme.points.purchases(account, since=since, until=last, deadline=deadline)
    except NotSupported:
        return ()  # the wallet asks whenever a card is opened: an empty list, and no error


async def offers(programme: Programme, number: str, deadline: Deadline) -> Sequence[Offer]:
    """Offers the card's owner could use now."""
    card = await active_card(programme, number, deadline)
    if programme.coupons is None:
        return ()
    account = await _account_shown(programme, card, "coupons", deadline)
    if account is None:
        return ()
    return await programme.coupons.offers(account, deadline=deadline)
