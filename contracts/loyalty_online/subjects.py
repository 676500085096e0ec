"""What a clause is about, where a breach would cost somebody: money, or who a card belongs to.

A run that judged none of these says so in its verdict. It may not know how clauses are judged.
"""

from __future__ import annotations

MONEY = frozenset(
    {
        "KLO-3-11",
        "KLO-3-12",
        "KLO-4-14",
        *(f"KLO-10-{number}" for number in (12, 13, 14, 15, 16, 24, *range(39, 49))),
        *(f"KLO-12-{number}" for number in range(11, 16)),
    }
)
"""Points come once, to the right card, show, and stay."""

IDENTITY = frozenset(
    {
        *(f"KLO-0-{number}" for number in (40, 41, 42)),
        *(f"KLO-1-{number}" for number in (13, 14, 16, 17, 20, 21)),
        "KLO-3-13",
        *(f"KLO-4-{number:02}" for number in (5, 6, 7, 10, 11, 12, 13, 15)),
        "KLO-7-15",
        *(f"KLO-6-{number:02}" for number in (5, 6, 7, 8, 12, 13, 14, 15)),
        *(f"KLO-11-{number:02}" for number in range(6, 10)),
    }
)
"""Nobody is taken for somebody else, nobody has two cards, nobody loses theirs."""

SUBJECTS = {"money": MONEY, "identity": IDENTITY}

HARM = (MONEY - {f"KLO-10-{number}" for number in (15, 16, 24)}) | (
    IDENTITY - {f"KLO-0-{number}" for number in (40, 41, 42)} - {"KLO-4-07", "KLO-4-10", "KLO-6-07"}
)
"""Clauses whose breach costs somebody points or a card: it is a failure, however the clause is known."""
