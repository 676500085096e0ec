"""The QR code of a Russian cash receipt: its six values, out of whatever a scanner or a link made of them.

Rules: the contract's chapter on the fiscal QR. The text is personal data; errors name the key only. What the
receipt is good for is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from crm_backends.inputs.text import visible
from crm_backends.model import FiscalReceipt

KEYS = ("t", "s", "fn", "i", "fp", "n")
_NEEDED = KEYS[:-1]
_ALL = frozenset(KEYS)
_ALIASES = {"fpd": "fp", "fd": "i", "dt": "t", "sum": "s"}
NAMES = (*KEYS, *_ALIASES)
"""Every name a value may have."""
MAX_TEXT = 1000
DRIVE_DIGITS = 16
"""Characters of a fiscal drive's number (tag 1041 of the fiscal data formats)."""

_TIME = re.compile(r"\d{8}T\d{4}(?:\d{2})?", re.ASCII)
_TOTAL = re.compile(r"(\d{1,12})(?:[.,](\d{1,2}))?", re.ASCII)
_MOST_DIGITS = {"fn": 16, "i": 10, "fp": 10}
_MAX_SIGN = 4_294_967_295
_AROUND = " \t\r\n\f\v\u00a0\"'`´“”„‟‘’‚‛«»‹›<>()[]{}"
_BEHIND = _AROUND + ".,;:!?"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")
_BETWEEN = re.compile(r"[&;\r\n]")
_PLAIN = re.compile(r"[A-Za-z0-9.=&]+(?<!\.)")
_NESTED = 4
"""Texts within texts, and layers of percent-encoding, at most."""


class UnreadableReceipt(ValueError):
    """What was given is no receipt; ``key`` names what is missing, repeated or malformed."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def read_qr(text: str) -> dict[str, str]:
    """The values of the QR text by key.

    Any order, ``&`` or ``;`` between, the usual aliases, quotes and invisible characters around, and
    percent-encoding are understood; so is a link that carries the keys, or the whole text in one parameter.

    Raises:
        UnreadableReceipt: a key is repeated, or the text is absurdly long.
    """
    if (plain := _plain(text)) is not None:
        return plain
    text = visible(text).lstrip(_AROUND).rstrip(_BEHIND)
    if len(text) > MAX_TEXT:
        raise UnreadableReceipt("length")
    values = _anywhere(text)
    if not _whole(values) and "%" in text:
        # The separators may be percent-encoded, and the rest not.
        decoded = _anywhere(_decoded(text))
        values = decoded if _whole(decoded) else values
    return values


def _anywhere(text: str) -> dict[str, str]:
    """The values in the text itself and in texts within it. Raises ``UnreadableReceipt``: one is repeated."""
    pairs = _pairs(text)
    own = by_key(pairs)
    if _whole(own):
        return own
    within = by_key(pair for name, value in pairs if _key(name) is None for pair in _inner(value, _NESTED))
    if _whole(within):
        return within  # what else the link has of such names is its own
    for key in own.keys() & within.keys():
        raise UnreadableReceipt(key)
    return own | within


def _plain(text: str) -> dict[str, str] | None:
    """The six values of a text as tills print it, with nothing about it that would have to be understood.

    Nearly every receipt is such a text; to read any other takes several times as long.
    """
    pairs = text.split("&")
    if len(pairs) != len(KEYS) or len(text) > MAX_TEXT or _PLAIN.fullmatch(text) is None:
        return None
    try:
        values = dict([pair.split("=") for pair in pairs])
    except ValueError:  # a pair has more than one sign of equality, or none
        return None
    return values if values.keys() == _ALL else None


def _whole(values: Mapping[str, str]) -> bool:
    return all(key in values for key in _NEEDED)


def _pairs(text: str) -> list[tuple[str, str]]:
    """Names and values of a text, a query or a link."""
    if "=" not in text:
        text = _decoded(text)  # all of it may be encoded, what divides it included
    head, mark, query = text.partition("?")
    is_link = _SCHEME.match(text) is not None
    if mark and (is_link or "=" not in head):
        text, _, fragment = query.partition("#")
        text = text if "=" in text else fragment
    elif is_link:
        text = re.split("[/#]", text)[-1]
    else:
        text = text.partition("#")[0]
    return [(name, value) for name, _, value in map(_halves, _BETWEEN.split(text))]


def _halves(pair: str) -> tuple[str, str, str]:
    return (pair if "=" in pair else _decoded(pair)).partition("=")


def _inner(value: str, depth: int) -> list[tuple[str, str]]:
    """The keys in a parameter's value that is a text of its own, however deep."""
    value = _decoded(value)
    if "=" not in value or not depth:
        return []
    found: list[tuple[str, str]] = []
    for name, inner in _pairs(value):
        found += [(name, inner)] if _key(name) else _inner(inner, depth - 1)
    return found


def _decoded(value: str) -> str:
    for _ in range(_NESTED):
        if "%" not in value:
            break
        value = unquote(value)
    return value


def _key(name: str) -> str | None:
    name = visible(_decoded(name)).strip().lower()
    name = _ALIASES.get(name, name)
    return name if name in KEYS else None


def by_key(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The values among ``pairs`` by key, whichever of its names they have; others are left out.

    Raises:
        UnreadableReceipt: a key is repeated.
    """
    values: dict[str, str] = {}
    for name, value in pairs:
        key = _key(name)
        if key is None:
            continue
        if key in values:
            raise UnreadableReceipt(key)
        values[key] = visible(_decoded(value)).strip()
    return values


def receipt_of(values: Mapping[str, str], zone: ZoneInfo, *, pad_drive: bool) -> FiscalReceipt:
    """The receipt these values describe; without ``n`` it is a sale.

    Args:
        values: by key.
        zone: where the shop's clock runs.
        pad_drive: write the fiscal drive's number with all its digits, so that one whose leading zeros got
            lost on the way is the same.

    Raises:
        UnreadableReceipt: a key is missing or malformed.
    """
    for key in _NEEDED:
        if not values.get(key):
            raise UnreadableReceipt(key)
    for key, most in _MOST_DIGITS.items():
        digits = values[key]
        if len(digits) > most or not (digits.isascii() and digits.isdigit()):
            raise UnreadableReceipt(key)
    if int(values["fp"]) > _MAX_SIGN:
        raise UnreadableReceipt("fp")
    kind = values.get("n") or "1"
    if kind not in ("1", "2", "3", "4"):
        raise UnreadableReceipt("n")
    return FiscalReceipt(
        fiscal_drive=values["fn"].zfill(DRIVE_DIGITS) if pad_drive else values["fn"],
        document=str(int(values["i"])),
        sign=str(int(values["fp"])),
        total_kopecks=_kopecks(values["s"]),
        issued_at=_time(values["t"], zone),
        calculation_type=int(kind),
    )


def _time(text: str, zone: ZoneInfo) -> datetime:
    text = text.upper()  # some scanners change the letter between date and time
    if _TIME.fullmatch(text) is None:
        raise UnreadableReceipt("t")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UnreadableReceipt("t") from None
    return moment.replace(tzinfo=zone)


def _kopecks(text: str) -> int:
    match = _TOTAL.fullmatch(text)
    if match is None:
        raise UnreadableReceipt("s")
    roubles, behind = match.groups("")
    kopecks = int(roubles + behind.ljust(2, "0"))
    if kopecks <= 0:
        raise UnreadableReceipt("s")
    return kopecks
