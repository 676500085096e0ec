"""Who sits at the console, and what they have open: in memory, gone with the process. It knows no page."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from adapter.loyalty.personal_data import KnownPerson
from adapter.settings import Person

MOST = 500
"""Sessions that are kept; the one that was unused for longest goes first."""
SHOWN_FOR = 600.0
"""Seconds for which personal data that somebody had shown stay visible to them."""
_MOST_CARDS = 1000
_MOST_PEOPLE = 50


@dataclass(frozen=True, slots=True)
class Told:
    """A message about what was just done, shown on the next page."""

    text: str
    """In the reader's language."""
    good: bool = True
    operation_id: int | None = None


@dataclass
class Session:
    """One browser."""

    id: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    """Is in every form of its pages, so that other sites cannot send one in its name."""
    person: Person | None = None
    """Who has logged in; nobody yet."""
    language: str | None = None
    """``en`` or ``ru``, once it was chosen on a page."""
    told: list[Told] = field(default_factory=list)
    typed: dict[str, str] = field(default_factory=dict, repr=False)
    """What was looked for last."""
    used_at: float = field(default_factory=time.monotonic)
    _shown: dict[str, float] = field(default_factory=dict, repr=False)
    _cards: dict[str, str] = field(default_factory=dict, repr=False)
    _people: dict[str, tuple[str, KnownPerson]] = field(default_factory=dict, repr=False)

    @property
    def may_decide(self) -> bool:
        return self.person is not None and self.person.role == "operator"

    def tell(self, text: str, *, good: bool = True, operation_id: int | None = None) -> None:
        self.told.append(Told(text, good, operation_id))

    def taken(self) -> list[Told]:
        """What is to be said, once."""
        told, self.told = self.told, []
        return told

    def show(self, subject: str) -> None:
        """From now on, for a while, the personal data of this card or operation are shown."""
        self._shown[subject] = time.monotonic() + SHOWN_FOR

    def hide(self, subject: str) -> None:
        self._shown.pop(subject, None)

    def shows(self, subject: str) -> bool:
        return self._shown.get(subject, 0.0) > time.monotonic()

    def name_card(self, number: str) -> str:
        """A random name that stands for the card in addresses of pages, which may not hold its number."""
        for name, known in self._cards.items():
            if known == number:
                return name
        if len(self._cards) >= _MOST_CARDS:
            del self._cards[next(iter(self._cards))]
        name = secrets.token_urlsafe(9)
        self._cards[name] = number
        return name

    def name_person(self, phone: str, person: KnownPerson) -> str:
        """A random name that stands for a person who was found in addresses of pages.

        Each page keeps its own person, even if another is looked for in another window.
        """
        if len(self._people) >= _MOST_PEOPLE:
            del self._people[next(iter(self._people))]
        name = secrets.token_urlsafe(9)
        self._people[name] = (phone, person)
        return name

    def person_named(self, name: str) -> tuple[str, KnownPerson] | None:
        """The phone the person was found by, and who it is."""
        return self._people.get(name)

    def card_named(self, name: str) -> str | None:
        return self._cards.get(name)


class Sessions:
    """All sessions of a process."""

    def __init__(self, idle: float, now: Callable[[], float] = time.monotonic) -> None:
        """``idle``: seconds without a click after which a session is over."""
        self._all: dict[str, Session] = {}
        self._idle = idle
        self._now = now

    def get(self, id_: str, *, used: bool = True) -> Session | None:
        """The session of this name, if it is not over; ``used``: somebody has clicked."""
        session = self._all.get(id_)
        if session is None:
            return None
        if self._now() - session.used_at > self._idle:
            self.end(session)
            return None
        if used:
            session.used_at = self._now()
        return session

    def new(self) -> Session:
        while len(self._all) >= MOST:
            # Sessions without a log-in are dropped first: anybody can make them.
            oldest = min(self._all.values(), key=lambda one: (one.person is not None, one.used_at))
            del self._all[oldest.id]
        session = Session(used_at=self._now())
        self._all[session.id] = session
        return session

    def end(self, session: Session) -> None:
        self._all.pop(session.id, None)
