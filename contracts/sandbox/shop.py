"""One shop that several stand-ins show, each in its CRM's own words: people, their points, what moved them.

It knows nothing of HTTP, of any CRM and of any adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import accumulate, count
from typing import Any

from contracts.sandbox.fields import Fields, Row, all_fields
from contracts.sandbox.people import PEOPLE

MOSCOW = timezone(timedelta(hours=3))
"""The time of the shop's place, which some CRMs write without saying so."""


@dataclass
class Move:
    """Points that were given, or taken when negative."""

    id: int
    points: Decimal
    text: str
    at: datetime
    key: str | None = None
    """A caller's key."""
    shown_at: datetime | None = None
    """From when a CRM that lags tells it; ``None``: from the beginning."""

    @property
    def given(self) -> Decimal:
        """The points, where they were given."""
        return max(self.points, Decimal(0))

    @property
    def taken(self) -> Decimal:
        """The points, where they were taken; not below zero."""
        return max(-self.points, Decimal(0))


@dataclass
class Member:
    """A customer."""

    id: int
    phone: str | None = None
    """E.164."""
    email: str | None = None
    first_name: str | None = None
    patronymic: str | None = None
    last_name: str | None = None
    birth_date: date | None = None
    sex: str | None = None
    """m or f."""
    city: str | None = None
    key: str | None = None
    """What a caller has called it."""
    more: dict[str, Any] = field(default_factory=dict)
    """What only this CRM keeps."""
    moves: list[Move] = field(default_factory=list)
    """Newest last."""
    since: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def points(self) -> Decimal:
        return sum((move.points for move in self.moves), Decimal(0))

    @property
    def shown(self) -> list[Move]:
        """The moves that a CRM tells which lags."""
        return [move for move in self.moves if move.shown_at is None or move.shown_at <= datetime.now(UTC)]

    @property
    def history(self) -> list[tuple[Move, Decimal]]:
        """The moves, each with the balance after it."""
        return list(zip(self.moves, accumulate(move.points for move in self.moves), strict=True))

    @property
    def digits(self) -> str:
        """The phone without its plus; empty where there is none."""
        return (self.phone or "").lstrip("+")

    def full_name(self, *parts: str) -> str:
        """These fields of the name in one text; empty where none is known."""
        return " ".join(getattr(self, part) for part in parts if getattr(self, part))

    def take(self, given: Mapping[str, Any], fields: Fields) -> None:
        """Change what is given under the CRM's names in ``fields``."""
        for name, one in all_fields(fields):
            if name not in given:
                continue
            value = None if given[name] is None else one.taken(given[name])
            if hasattr(self, one.ours):
                setattr(self, one.ours, value)
            else:
                self.more[one.ours] = value

    def told(self, fields: Fields) -> Row:
        """These fields under the CRM's names; ``None`` where nothing is known."""
        row: Row = {}
        for name, one in all_fields(fields):
            value = getattr(self, one.ours, self.more.get(one.ours))
            row[name] = None if value is None else one.told(value)
        return row


class Shop:
    """The people of ``people``, and those who are added."""

    def __init__(self) -> None:
        self._numbers = count(101)
        self.members: dict[int, Member] = {}
        for person in PEOPLE:
            member = self.add(
                phone=person.phone,
                email=person.email,
                first_name=person.first_name,
                last_name=person.last_name,
                birth_date=person.birth_date,
            )
            if person.points:
                self.give(member, person.points, "purchase", ago=timedelta(days=20))

    def number(self) -> int:
        """A number that nothing in the shop has."""
        return next(self._numbers)

    def add(self, **values: Any) -> Member:
        """A new customer with these fields of ``Member``."""
        member = Member(self.number(), **values)
        self.members[member.id] = member
        return member

    def find(self, wanted: Callable[[Member], bool]) -> list[Member]:
        """Those who fit, oldest first."""
        return [member for member in self.members.values() if wanted(member)]

    def first(self, wanted: Callable[[Member], bool]) -> Member | None:
        """The oldest who fits."""
        return next(filter(wanted, self.members.values()), None)

    def by_id(self, text: object) -> Member | None:
        """The customer with this number, given as text."""
        return self.members.get(int(str(text))) if str(text).isdecimal() else None

    def give(
        self,
        member: Member,
        points: Decimal,
        text: str,
        key: str | None = None,
        ago: timedelta = timedelta(0),
        shown_after: timedelta | None = None,
    ) -> Move:
        """Move points; below zero they are taken."""
        at = datetime.now(UTC) - ago
        shown_at = None if shown_after is None else at + shown_after
        move = Move(self.number(), points, text, at, key, shown_at)
        member.moves.append(move)
        return move

    def moves(self) -> list[tuple[Member, Move]]:
        """All that was moved, with whose points it was: one customer after the other, oldest first."""
        return [(member, move) for member in self.members.values() for move in member.moves]

    def moves_under(self, key: str) -> list[tuple[Member, Move]]:
        """Everything that was moved under a caller's key."""
        return [(member, move) for member, move in self.moves() if move.key == key]
