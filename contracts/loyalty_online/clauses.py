"""The clauses of the Loyalty Online API, read from ``clauses.csv``.

A clause is one requirement with its evidence. Which checks test it is declared where the checks are; this
module may not know them, nor any service.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from contracts.suite.results import Clause, Evidence

VERSIONS = ("1.0.0", "1.1.0", "1.2.0", "1.3.0")
FILE = Path(__file__).with_name("clauses.csv")


def versions_since(first: str) -> tuple[str, ...]:
    """``first`` and the versions after it. ``ValueError`` if there is no such version."""
    return VERSIONS[_place(first) :]


def versions_until(last: str) -> tuple[str, ...]:
    """``last`` and the versions before it. ``ValueError`` if there is no such version."""
    return VERSIONS[: _place(last) + 1]


def _place(version: str) -> int:
    if version not in VERSIONS:
        raise ValueError(f"there is no version {version}; there are: {', '.join(VERSIONS)}")
    return VERSIONS.index(version)


@cache
def clauses() -> Mapping[str, Clause]:
    """Every clause by its id, in the order of the contract."""
    return MappingProxyType(
        {
            row["id"]: Clause(
                id=row["id"],
                method=int(row["method"]),
                text=row["text"],
                level=row["level"],
                evidence=Evidence(row["evidence"]),
                versions=versions_since(row["versions"].removesuffix("+")),
                source=row["source"],
                text_ru=row["text_ru"],
            )
            for row in _rows()
        }
    )


@cache
def untested() -> Mapping[str, str]:
    """Clause id to the reason, for the clauses that nobody can test from outside."""
    return MappingProxyType(
        {row["id"]: row["untested_because"] for row in _rows() if row["untested_because"]}
    )


@cache
def _rows() -> tuple[dict[str, str], ...]:
    with FILE.open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))
