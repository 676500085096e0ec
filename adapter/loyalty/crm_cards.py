"""Asks the users CRM about a card number.

The CRM is asked at every use of a card, so that a block in the CRM takes effect at the next call. A CRM that
did not answer is not asked for the next seconds; meanwhile the registry alone decides. This module may not
know what follows from an answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import TracebackType

import structlog

from adapter.loyalty.model import Card
from adapter.loyalty.ports import CardRegistry
from crm_backends.model import CrmCard
from crm_backends.ports import BackendError, BackendUnavailable, Deadline

log = structlog.get_logger("cards")

_PATIENCE = 1.0
"""Seconds, at most, for asking the CRM about a card that the registry knows."""
_NOT_ASKED = 5.0
"""Seconds for which the CRM is not asked about such cards after it did not answer."""
_REMEMBERED = 5.0
"""Seconds for which a number that nobody knew is not asked for again: somebody may try it over and over."""
_MOST = 10_000
_A_LINE_IN = 60.0
"""Seconds between two log lines about odd numbers of one kind."""

Ask = Callable[[str, Deadline], Awaitable[CrmCard | None]]
Joined = Callable[[str], Awaitable[tuple[Card | None, CrmCard | None]]]


class _Pausing:
    """Used with ``with`` around each question to the CRM: after an error it is not asked for some seconds.

    The log says once that the CRM fails, once that it answers again. Raises ``BackendUnavailable`` while it
    is not to be asked. A class, since a generator would cost each receipt three times as much.
    """

    __slots__ = ("_quiet_until", "_silent")

    def __init__(self) -> None:
        self._quiet_until = 0.0
        self._silent = False

    def __enter__(self) -> None:
        if time.monotonic() < self._quiet_until:
            raise BackendUnavailable("the users CRM did not answer a few seconds ago")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, BackendError):
            self._quiet_until = time.monotonic() + _NOT_ASKED
            if not self._silent:
                self._silent = True
                log.warning("card_states_not_told", reason=type(error).__name__, detail=str(error))
        elif error is None and self._silent:
            self._silent = False
            log.info("card_states_told_again")


class CrmCards:
    """The look-up by card number of the users CRM.

    Args:
        ask: asks the CRM. Raises ``BackendError``.
        tells_state: whether the CRM, when it finds a person, tells the state of their card too.
        joined: reads a card of the registry and, if the CRM says something else of it, what the CRM says,
            both in one statement.
    """

    def __init__(self, ask: Ask, tells_state: Callable[[], bool], joined: Joined | None = None) -> None:
        self._ask = ask
        self._joined = joined
        self.tells_state = tells_state
        self._pausing = _Pausing()
        self._unknown: dict[str, float] = {}
        """Numbers that nobody knew, oldest first, and until when that is remembered."""

    async def find(self, number: str, deadline: Deadline) -> CrmCard | None:
        """What the CRM knows of the number now. Raises ``BackendError``."""
        try:
            async with asyncio.timeout(deadline.remaining()):
                return await self._ask(number, deadline)
        except TimeoutError:
            raise BackendUnavailable("the users CRM did not tell a card in time") from None

    async def says_quickly(self, number: str, deadline: Deadline) -> CrmCard | None:
        """The same as ``find``, within a second.

        Raises ``BackendError`` if the CRM does not answer in time; then it is not asked for some seconds.
        """
        with self._pausing:
            patience = min(_PATIENCE, deadline.remaining() / 2)
            return await self.find(number, Deadline.after(patience, optional=True))

    async def with_card(
        self, cards: CardRegistry, number: str, deadline: Deadline
    ) -> tuple[Card | None, CrmCard | None]:
        """The registry's card with this number, and what the CRM says of the number.

        ``None`` in the second place: the CRM does not know the number, or says the same as the card. Raises
        ``BackendError`` if the registry knows no such card and the CRM does not answer.
        """
        try:
            if self._joined is not None:
                with self._pausing:
                    return await self._joined(number)
        except BackendError:
            card = await cards.get(number)
            return card, None if card is not None else await self.find(number, deadline)
        known, told = await asyncio.gather(
            cards.get(number), self.says_quickly(number, deadline), return_exceptions=True
        )
        if isinstance(known, BaseException):
            raise known
        if not isinstance(told, BaseException):
            return known, told
        if not isinstance(told, BackendError):
            raise told
        return known, None if known is not None else await self.find(number, deadline)

    def is_nobodys(self, number: str) -> bool:
        """Whether nobody knew this number some seconds ago."""
        until = self._unknown.get(number)
        return until is not None and time.monotonic() < until

    def note_unknown(self, number: str) -> None:
        """Neither the registry nor the CRM knows this number."""
        now = time.monotonic()
        while self._unknown and (len(self._unknown) >= _MOST or next(iter(self._unknown.values())) < now):
            del self._unknown[next(iter(self._unknown))]
        self._unknown.pop(number, None)
        self._unknown[number] = now + _REMEMBERED


ODD = ("barcode", "unfit", "taken", "other_owner")
"""Why a number of the CRM's is odd. ``barcode``: its barcode type cannot carry it, the fallback type does.
``unfit``: it cannot be shown at all. ``taken``: the number is another person's card here. ``other_owner``:
the card has one owner here and another owner in the CRM."""


class OddNumbers:
    """Counts and logs card numbers of the CRM that cannot be a card here, or cannot be shown as they are.

    Args:
        observe: is called with the reason, for each number.
    """

    def __init__(self, observe: Callable[[str], None] = lambda reason: None) -> None:
        self._observe = observe
        self._logged: dict[str, float] = {}
        self._since: dict[str, int] = {}

    def note(self, reason: str, number: str, remedy: str) -> None:
        """Count the number. For each reason at most one line a minute is logged, with the number masked."""
        self._observe(reason)
        now = time.monotonic()
        if now < self._logged.get(reason, 0.0):
            self._since[reason] = self._since.get(reason, 0) + 1
            return
        self._logged[reason] = now + _A_LINE_IN
        log.warning(
            "card_number_refused",
            reason=reason,
            card=f"***{number[-4:]}" if number.isascii() and number.isprintable() else "***",
            length=len(number),
            more=self._since.pop(reason, 0),
            remedy=remedy,
        )
