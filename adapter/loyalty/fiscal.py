"""Reads the QR code of a cash receipt, and refuses with the adapter's error codes what cannot be read.

``crm_backends.inputs.receipts`` does the reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

from adapter.errors import Code, Refused
from crm_backends.inputs import receipts
from crm_backends.inputs.receipts import KEYS, MAX_TEXT, NAMES
from crm_backends.model import FiscalReceipt

__all__ = ["KEYS", "MAX_TEXT", "NAMES", "by_key", "parse_receipt", "read_qr"]

Read = TypeVar("Read")

_AHEAD = timedelta(hours=12)


def read_qr(text: str) -> dict[str, str]:
    """The values of the QR text by key. Raises ``Refused(QR_UNREADABLE)`` naming a key that is repeated."""
    return _refusing(lambda: receipts.read_qr(text))


def by_key(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The values by key, where the request has a field for each. Raises ``Refused(QR_UNREADABLE)`` naming a
    key that is repeated."""
    return _refusing(lambda: receipts.by_key(pairs))


def parse_receipt(
    values: Mapping[str, str], zone: ZoneInfo, now: datetime, *, pad_drive: bool = False
) -> FiscalReceipt:
    """The receipt these QR values describe.

    ``zone`` is where the shop's clock runs, ``now`` is aware; ``pad_drive`` as for ``receipt_of``. Raises
    ``Refused``: QR_UNREADABLE naming the key, RECEIPT_FROM_FUTURE.
    """
    receipt = _refusing(lambda: receipts.receipt_of(values, zone, pad_drive=pad_drive))
    if receipt.issued_at > now + _AHEAD:
        raise Refused(Code.RECEIPT_FROM_FUTURE)
    return receipt


def _refusing(read: Callable[[], Read]) -> Read:
    try:
        return read()
    except receipts.UnreadableReceipt as error:
        raise Refused(Code.QR_UNREADABLE, error.key) from None
