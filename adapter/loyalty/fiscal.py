"""Read the QR code of a Russian cash receipt. It may not know what the receipt is good for.

Rules: the contract's chapter on the fiscal QR. The text is personal data; errors name the key only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from adapter.catalogue import Code, Refused
from crm_backends.model import FiscalReceipt

KEYS = ("t", "s", "fn", "i", "fp", "n")
_ALIASES = {"fpd": "fp", "fd": "i", "dt": "t", "sum": "s"}
NAMES = (*KEYS, *_ALIASES)
"""Every name a value may have."""
_TIME = re.compile(r"\d{8}T\d{4}(?:\d{2})?")
_TOTAL = re.compile(r"(\d{1,12})(?:[.,](\d{1,2}))?")
_DIGITS = {"fn": re.compile(r"\d{1,16}"), "i": re.compile(r"\d{1,10}"), "fp": re.compile(r"\d{1,10}")}
_MAX_SIGN = 4_294_967_295
MAX_TEXT = 1000
_AHEAD = timedelta(hours=12)


def _bad(key: str) -> Refused:
    return Refused(Code.QR_UNREADABLE, key)


def read_qr(text: str) -> dict[str, str]:
    """The six values of the QR text by key; ``n`` defaults to 1.

    Any order, ``&`` or ``;`` between, a link that carries the keys, and the usual aliases are accepted.
    Raises ``Refused(QR_UNREADABLE)`` naming a key that is missing or repeated.
    """
    text = text.strip()
    if len(text) > MAX_TEXT:
        raise _bad("length")
    query = text.partition("?")[2] if "?" in text else text
    pairs = (pair.partition("=") for pair in re.split("[&;]", query.partition("#")[0]))
    return by_key((name, value) for name, _, value in pairs)


def by_key(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The values among ``pairs`` by key, whichever of its names they have; others are left out.

    Raises ``Refused(QR_UNREADABLE)`` naming a key that is repeated.
    """
    values: dict[str, str] = {}
    for name, value in pairs:
        key = name.strip().lower()
        key = _ALIASES.get(key, key)
        if key in KEYS:
            if key in values:
                raise _bad(key)
            values[key] = value.strip()
    return values


def parse_receipt(values: Mapping[str, str], zone: ZoneInfo, now: datetime) -> FiscalReceipt:
    """The receipt these QR values describe.

    ``zone`` is where the shop's clock runs, ``now`` is aware. Raises ``Refused``: QR_UNREADABLE naming
    the key, RECEIPT_FROM_FUTURE.
    """
    for key in KEYS[:-1]:
        if not values.get(key):
            raise _bad(key)
    for key, pattern in _DIGITS.items():
        if not (values[key].isascii() and pattern.fullmatch(values[key])):
            raise _bad(key)
    if int(values["fp"]) > _MAX_SIGN:
        raise _bad("fp")
    settlement = values.get("n") or "1"
    if settlement not in ("1", "2", "3", "4"):
        raise _bad("n")
    settled_at = _time(values["t"], zone)
    if settled_at > now + _AHEAD:
        raise Refused(Code.RECEIPT_FROM_FUTURE)
    return FiscalReceipt(
        fiscal_drive=values["fn"],
        document=str(int(values["i"])),
        sign=str(int(values["fp"])),
        total_kopecks=_kopecks(values["s"]),
        settled_at=settled_at,
        settlement=int(settlement),
    )


def _time(text: str, zone: ZoneInfo) -> datetime:
    if not (text.isascii() and _TIME.fullmatch(text)):
        raise _bad("t")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _bad("t") from None
    return moment.replace(tzinfo=zone)


def _kopecks(text: str) -> int:
    match = _TOTAL.fullmatch(text) if text.isascii() else None
    if match is None:
        raise _bad("s")
    kopecks = int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))
    if kopecks <= 0:
        raise _bad("s")
    return kopecks
