"""Moments and days read by a format: always what ``strptime`` reads, by whichever way they are read."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from crm_backends.connector.moments import ProgrammeDefaults, functions_of
from crm_backends.connector.values import Unfit

FUNCTIONS = functions_of(ProgrammeDefaults(ZoneInfo("UTC"), "RU"))
FORMATS = [
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%SZ",
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M",
    "%S:%M:%H %d/%m/%Y",
    "%Y%m%d%H%M%S",
    "%Y%m%d",
    # not all that comes before a part is there, or more than digits
    "%Y-%m-%d %M",
    "%Y-%m-%d %H:%S",
    "%m-%d",
    "%Y-%m-%d %H:%M:%S%z",
    "%d %b %Y",
    "%y-%m-%d",
    "%Y-%m-%d %%",
    "%Y.%m.%d (%H)",
]
PARTS = [
    (2026, 11, 26, 10, 30, 59),
    (2024, 2, 29, 0, 0, 0),
    (2026, 2, 29, 1, 2, 3),  # there is no such day
    (1990, 5, 7, 23, 59, 60),
    (2026, 13, 1, 1, 1, 1),
    (2026, 13, 5, 1, 1, 1),
    (2026, 1, 32, 24, 60, 61),
    (2026, 0, 0, 0, 0, 0),
    (1, 1, 1, 1, 1, 1),
]
SIGNS = ("%Y", "%m", "%d", "%H", "%M", "%S")


def texts(form: str) -> list[str]:
    """What may come for a format: in full digits, in as few as possible, and otherwise not quite so."""
    found = [datetime(2026, 11, 26, 10, 30, 59, tzinfo=UTC).strftime(form)]
    for parts in PARTS:
        full, short = form, form
        for sign, part in zip(SIGNS, parts, strict=True):
            full = full.replace(sign, f"{part:04d}" if sign == "%Y" else f"{part:02d}")
            short = short.replace(sign, str(part))
        found += [full, short, f"{full} ", f" {full}", f"{full}\n", full[:-1], full.lower()]
        found.append(full.replace(" ", "  "))
        found.append(full.replace("1", "\N{ARABIC-INDIC DIGIT ONE}"))
        found.append(full.replace("1", "\N{SUPERSCRIPT ONE}"))
    return found


def by_strptime(text: str, form: str, name: str) -> object:
    """What Python reads, as the function of this name gives it; nothing where it reads nothing."""
    try:
        moment = datetime.strptime(text, form)  # noqa: DTZ007 - the zone follows
    except ValueError:
        return None
    return moment.date() if name == "date" else moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@pytest.mark.parametrize(("form", "name"), list(itertools.product(FORMATS, ("date", "time"))))
def test_a_format_reads_what_strptime_reads(form: str, name: str) -> None:
    read = 0
    for text in texts(form):
        try:
            found = FUNCTIONS[name](text, form)
        except Unfit:
            found = None
        assert found == by_strptime(text, form, name), text
        read += found is not None
    assert read
