"""Reads what an answer says, leniently: its form is judged elsewhere. It may not know checks or people."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from urllib.parse import quote

from contracts.suite.answer import Answer


def number(text: str | None) -> Decimal | None:
    """``text`` as a number, or ``None``."""
    try:
        value = Decimal(text) if text is not None else None
    except InvalidOperation:
        return None
    return value if value is not None and value.is_finite() else None


def quoted(number: str) -> str:
    """A card number as a part of a path."""
    return quote(number, safe="")


@dataclass(frozen=True)
class Points:
    """What a holder has, or gets: a credit may show in either."""

    total: Decimal
    available: Decimal

    def __sub__(self, other: Points) -> Points:
        return Points(self.total - other.total, self.available - other.available)

    @property
    def positive(self) -> bool:
        return self.total > 0 or self.available > 0

    @property
    def most(self) -> Decimal:
        return max(self.total, self.available)

    def __str__(self) -> str:
        return (
            f"{self.total}" if self.total == self.available else f"{self.total} ({self.available} available)"
        )


def found_number(answer: Answer) -> str | None:
    """The card number in an answer, wherever a service may have put it; shapes are clauses of their own."""
    for path in (("card", "cardNumber"), ("cardNumber",), (0, "card", "cardNumber"), (0, "cardNumber"),
                 ("cards", 0, "cardNumber"), ("card", 0, "cardNumber")):  # fmt: skip
        if text := answer.text_at(*path):
            return text
    return None


def reserved_number(answer: Answer) -> str | None:
    """The number that was reserved: in a card object, or bare, as JSON or as text (KLO-5-03)."""
    if not answer.ok:
        return None
    if (named := found_number(answer)) is not None:
        return named
    bare = answer.body.decode("utf-8", errors="replace").strip().strip('"')
    return bare if bare.isalnum() and bare not in ("null", "true", "false") else None


def error_of(answer: Answer, word: str = "") -> tuple[int | None, str | None, str]:
    """Status, code and words of an error, to tell two apart.

    Numbers count alike, since they may be a value that was sent; so does ``word``, for the same reason.
    """
    words = answer.text_at("description") or answer.body[:1000].decode("utf-8", errors="replace")
    return (
        answer.status,
        answer.text_at("code"),
        re.sub(r"\d+", "9", words.replace(word, "9") if word else words),
    )
