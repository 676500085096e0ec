"""The loyalty programme: settings, the adapter's own records, and the CRMs bound to the three ports.

Every use case is a function of a ``Programme``. This module may not know how the parts were built.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from adapter.errors import Code, Refused
from adapter.loyalty.crm_cards import CrmCards, OddNumbers
from adapter.loyalty.idempotency_keys import new_key
from adapter.loyalty.model import Card, OperationKind
from adapter.loyalty.ports import (
    BalanceBook,
    CardRegistry,
    ConsentBook,
    ContactClaims,
    EmailBook,
    Finder,
    OperationLedger,
    Port,
)
from adapter.loyalty.untold import UntoldBalances
from adapter.settings import Settings
from crm_backends.model import Customer, Holder
from crm_backends.ports import (
    BackendError,
    Coupons,
    Deadline,
    HolderUnnamed,
    KeepsCards,
    NamesAccounts,
    Outcome,
    Points,
    Reconciliation,
    Users,
    Written,
)

_FOR_OPTIONAL_LOOKUPS = 1.0
"""Seconds, at most, that a request spends on look-ups that it can do without."""


class RecentlyChecked:
    """Remembers for a minute which cards were checked."""

    def __init__(self, seconds: float = 60.0, most: int = 10_000) -> None:
        self._seconds, self._most = seconds, most
        self._until: dict[str, float] = {}

    def is_due(self, number: str) -> bool:
        return time.monotonic() >= self._until.get(number, float("-inf"))

    def note(self, number: str) -> None:
        self._until.pop(number, None)
        if len(self._until) >= self._most:
            del self._until[next(iter(self._until))]
        self._until[number] = time.monotonic() + self._seconds


@dataclass(frozen=True, slots=True)
class Programme:
    settings: Settings
    cards: CardRegistry
    consents: ConsentBook
    emails: EmailBook | None
    """``None``: the users CRM itself can be asked for an e-mail."""
    contact_claims: ContactClaims
    operations: OperationLedger
    balances: BalanceBook | None
    """``None``: no last known balance is kept. Either the points are in the adapter's own database, so that
    both fail together, or the settings forbid showing an old balance."""
    finder: Finder
    users: Users
    points: Points | None
    coupons: Coupons | None
    reconciliation: Mapping[OperationKind, Reconciliation]
    """How the CRM that performs operations of a kind reconciles an unknown outcome."""
    foreign_ports: tuple[Port, ...]
    """Ports whose CRM is another than the users CRM and has an id of its own for each customer."""
    same_customer_id: tuple[Port, ...]
    """Ports whose CRM is the users CRM and has the same id for the customer."""
    keeps_consents: bool
    """Whether the users CRM can keep consents, by its capability."""
    lists_users: bool
    """Whether the users CRM can list the phones of all users, by its capability."""
    harmless_again: frozenset[OperationKind]
    """Kinds of operations that may be sent again at once if they are not found in the CRM: something in the
    CRM is unique, so that sending twice has no second effect."""
    key_lengths: Mapping[OperationKind, int]
    """Characters of an idempotency key that the CRM of a kind takes."""
    crm_cards: CrmCards | None
    """``None``: the users CRM cannot be asked for a card number."""
    keeps_cards: KeepsCards | None
    """``None``: the users CRM is not told which card a customer has."""
    odd_numbers: OddNumbers
    """Is told of numbers of the CRM that cannot be a card here, or cannot be shown as they are."""

    untold_balances: UntoldBalances
    """Is told of balances that the CRM does not tell."""

    cannot: frozenset[OperationKind] = frozenset()
    """Kinds of operations that the driver cannot do; such an operation is refused and not recorded."""

    named: Mapping[Port, NamesAccounts] = field(default_factory=dict)
    """Ports whose CRM names accounts by a phone or an e-mail, which may pass to another person."""
    checked: RecentlyChecked = field(default_factory=RecentlyChecked)
    """Cards whose account was checked a short while ago to be the owner's still."""

    def now(self) -> datetime:
        """Current time, aware, in the programme's zone."""
        return datetime.now(self.settings.zone)

    def new_key(self, kind: OperationKind) -> str:
        """A random idempotency key for a new operation of this kind."""
        return new_key(self.key_lengths[kind])


def kinds_looked_for(programme: Programme) -> frozenset[OperationKind]:
    """Kinds of operations whose doubts are looked up in the CRM, and for which "not found" counts only after
    proof."""
    by_looking = (Reconciliation.PROBE, Reconciliation.COMPARE)
    return frozenset(kind for kind, how in programme.reconciliation.items() if how in by_looking).difference(
        programme.harmless_again
    )


def kinds_shown(programme: Programme, known: Container[OperationKind]) -> frozenset[OperationKind]:
    """Of these, kinds of which it is told whether they are proved: not what the CRM cannot do, unless a proof
    is ``known`` from when it could."""
    return frozenset(
        kind for kind in kinds_looked_for(programme) if kind in known or kind not in programme.cannot
    )


async def owner_of(programme: Programme, card: Card, deadline: Deadline) -> Customer:
    """The card's owner. Raises ``Refused(CARD_NOT_ACTIVE)`` if the CRM knows no owner."""
    if card.users_reference is not None:
        customer = await programme.users.get(card.users_reference, deadline=deadline)
        if customer is not None:
            return customer
    raise Refused(Code.CARD_NOT_ACTIVE)


async def in_its_place(programme: Programme, card: Card) -> Card:
    """The card itself or, if it was replaced, the card that is in its place now."""
    seen = {card.number}
    while card.replaced_by is not None and card.replaced_by not in seen:
        seen.add(card.replaced_by)
        following = await programme.cards.get(card.replaced_by)
        if following is None:
            break
        card = following
    return card


async def account_of(
    programme: Programme, card: Card, port: Port, deadline: Deadline, *, surely: bool = False
) -> str | None:
    """The owner's account in the CRM of ``port``; asked for once, then remembered.

    For a card that was replaced: the account of the card in its place. Some CRMs name an account by a phone,
    which may have passed to another person. With ``surely`` such an account is checked now; without, a check
    within the last minute is enough.
    """
    card = await in_its_place(programme, card)
    if port in programme.same_customer_id:
        return card.users_reference
    known = card.points_reference if port == "points" else card.coupons_reference
    if card.users_reference is None:
        return known
    if known is not None:
        if port in programme.named and (surely or programme.checked.is_due(card.number)):
            return await _still_named_so(programme, card, port, known, deadline, surely)
        return known
    customer = await programme.users.get(card.users_reference, deadline=deadline)
    return None if customer is None else await _ask_account(programme, card, customer, port, deadline)


async def _still_named_so(
    programme: Programme, card: Card, port: Port, known: str, deadline: Deadline, surely: bool
) -> str | None:
    """The account the owner has now, in a CRM that names accounts by a phone, which passes to others."""
    assert card.users_reference is not None  # noqa: S101 - the caller has seen to it
    try:
        customer = await programme.users.get(card.users_reference, deadline=deadline)
        if customer is None:
            return known
        holder = Holder(card.number, customer.customer_id, customer.profile)
        name = programme.named[port].account_name(holder)
    except HolderUnnamed:
        return known
    except BackendError:
        if surely:
            raise
        return known
    if name == known:
        programme.checked.note(card.number)
        return known
    return await _ask_account(programme, card, customer, port, deadline)


async def remember_accounts(programme: Programme, card: Card, customer: Customer, deadline: Deadline) -> None:
    """Ask the other CRMs for the owner's account now, since the phone is known now and the users CRM may not
    keep it.

    A CRM that does not answer within a second is asked again when the account is needed.
    """
    deadline = Deadline.after(min(_FOR_OPTIONAL_LOOKUPS, deadline.remaining() / 2), optional=True)
    for port in programme.foreign_ports:
        if (card.points_reference if port == "points" else card.coupons_reference) is None:
            with contextlib.suppress(BackendError):
                await _ask_account(programme, card, customer, port, deadline)


async def _ask_account(
    programme: Programme, card: Card, customer: Customer, port: Port, deadline: Deadline
) -> str | None:
    holder = Holder(card.number, customer.customer_id, customer.profile)
    found = None
    if port == "points" and programme.points is not None:
        found = await programme.points.points_account(holder, deadline=deadline)
    elif port == "coupons" and programme.coupons is not None:
        found = await programme.coupons.coupons_account(holder, deadline=deadline)
    if found is not None:
        await programme.cards.remember_account(card.number, port, found)
    return found


def expect_done(written: Written, refusal: Code) -> None:
    """Return if the write is done. Only for writes that may be repeated without a second effect.

    Raises ``Refused``: CONFLICT or ``refusal`` if the CRM refused, CRM_DOWN if it did not confirm (the caller
    may then repeat the call).
    """
    if written.outcome is Outcome.REFUSED:
        raise Refused(Code.CONFLICT if written.refusal == "conflict" else refusal)
    if written.outcome is not Outcome.DONE:
        raise Refused(Code.CRM_DOWN)
