"""What Xerts answers to the management calls: what was made, terms that differ, reports.

It may not know how it was asked.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from crm_backends.xerts.replies import (
    Unreadable,
    identifier,
    moment_of,
    number_of,
    object_of,
    text_of,
    unwrapped,
)


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One site of a vendor's report, or one vendor of a site's."""

    reference: str
    label: str
    active_offers: int
    issued: int
    redeemed: int


@dataclass(frozen=True, slots=True)
class CouponReport:
    """Coupons issued and redeemed in a period."""

    issued: int
    redeemed: int
    rows: tuple[ReportRow, ...]
    first: str
    """First day, as the server writes it; empty where it does not."""
    last: str


def made(body: object, name: str = "id") -> str:
    """Identifier of what was made or changed."""
    return identifier(object_of(unwrapped(body), "an object"), name)


def other_terms(body: object, asked: Mapping[str, object]) -> list[str]:
    """Names of the terms that an attached offer has, and has otherwise than asked for; ``None``: not asked.

    A term that the answer leaves out is not one that differs.
    """
    fields = object_of(unwrapped(body), "an object")
    return [
        name
        for name, wanted in asked.items()
        if wanted is not None and fields.get(name) is not None and not _same(fields[name], wanted)
    ]


def _same(found: object, wanted: object) -> bool:
    """Whether two values are one: moments in any spelling, numbers but for their last digits."""
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(_same, found, wanted))
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(_same(found.get(k), v) for k, v in wanted.items())
    if found == wanted:
        return True
    there, asked = {"value": found}, {"value": wanted}
    try:
        if isinstance(wanted, str):
            moment, meant = (moment_of(one, "value", ZoneInfo("UTC")) for one in (there, asked))
            slack = timedelta(seconds=1) if "T" in str(found) else timedelta(days=1)  # some keep no more
            return moment is not None and meant is not None and abs(moment - meant) < slack
        number, limit = number_of(there, "value"), number_of(asked, "value")
        return number is not None and limit is not None and math.isclose(number, limit, rel_tol=1e-9)
    except Unreadable:
        return False


def report(body: object, rows: str) -> CouponReport:
    """A report whose rows are under ``rows``: a list, or an object with the ids as names.

    ``body`` may be text: what the vendor prints as a sample is no JSON, and is mended.
    """
    if isinstance(body, str):
        try:
            body = json.loads(mended(body), parse_float=Decimal)
        except (ValueError, RecursionError):
            raise Unreadable("the report is no JSON, and cannot be mended") from None
    fields = object_of(unwrapped(body), "a report")
    listed = fields.get(rows) or []
    if isinstance(listed, Mapping):
        listed = list(listed.values())
    if not isinstance(listed, list):
        raise Unreadable(f"{rows} is neither a list nor an object")
    return CouponReport(
        issued=count_of(fields, "totalCouponsIssued"),
        redeemed=count_of(fields, "totalCouponsRedeemed"),
        rows=tuple(_row(item) for item in listed),
        first=text_of(fields, "from") or "",
        last=text_of(fields, "to") or "",
    )


def _row(value: object) -> ReportRow:
    fields = object_of(value, "a row of the report")
    return ReportRow(
        reference=identifier(fields, "id"),
        label=(text_of(fields, "label") or "").replace("\\'", "'"),  # escaped once too often in the samples
        active_offers=count_of(fields, "activeOffers"),
        issued=count_of(fields, "couponsIssued"),
        redeemed=count_of(fields, "couponsRedeemed"),
    )


_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|\s+|[^\[\]{},:"\s]+|"', re.DOTALL)


def mended(text: str) -> str:
    """``text`` as JSON, where only these are wrong: ``["name": value]``, ``\\'``, a comma before a bracket.

    Nothing inside a string changes but ``\\'``. What else is wrong stays wrong.
    """
    out: list[str] = []
    opened: list[int] = []  # where in ``out`` the brackets around this place are
    named: set[int] = set()  # those that opened a list and hold names
    comma: int | None = None  # where the last piece is, if it was a comma
    for piece in _PIECE.findall(text):
        if piece.isspace():
            out.append(piece)
            continue
        here = len(out)
        out.append(piece)
        match piece[0]:
            case "[" | "{":
                opened.append(here)
            case ":" if opened and out[opened[-1]] == "[":
                out[opened[-1]] = "{"
                named.add(opened[-1])
            case "]" | "}":
                if comma is not None:
                    out[comma] = ""
                if opened and opened.pop() in named and piece == "]":
                    out[here] = "}"
            case '"':
                out[here] = re.sub(r"\\(.)", _unescaped, piece, flags=re.DOTALL)
        comma = here if piece == "," else None
    return "".join(out)


def _unescaped(pair: re.Match[str]) -> str:
    return "'" if pair[1] == "'" else pair[0]


def count_of(fields: Mapping[str, object], name: str) -> int:
    number = number_of(fields, name)
    if number is None or number != number.to_integral_value():
        raise Unreadable(f"{name} is no whole number")
    return int(number)
