"""Idempotency keys: a CRM recognises an operation of ours by its key, the same key at every attempt.

Two operations never have the same key, not even after a loss of the adapter's database or with two adapters
over one CRM. The key of a receipt is made of its fiscal identity, so that the same receipt always has the
same key. Every other key is random. A key has only capital letters and digits, which no CRM changes or cuts
off. This module may not know any driver or database.
"""

from __future__ import annotations

import base64
import hashlib
import secrets

from crm_backends.ports import KEY_LENGTH

SHORTEST = 16
"""Characters (80 bits). The chance that any two of a billion operations get the same key is below one in a
million."""
_BYTES = -(-KEY_LENGTH * 5 // 40) * 5
"""Bytes that the longest key is made of: base32 turns five bytes into eight characters."""


def receipt_key(fiscal_drive: str, document: str, sign: str, length: int = KEY_LENGTH) -> str:
    """The key of a receipt (fn, i, fp) with ``length`` characters. The receipt cannot be read out of it."""
    return _text(hashlib.sha256(f"{fiscal_drive}:{document}:{sign}".encode()).digest(), length)


def new_key(length: int = KEY_LENGTH) -> str:
    """A random key with ``length`` characters."""
    return _text(secrets.token_bytes(KEY_LENGTH), length)


def _text(data: bytes, length: int) -> str:
    if not SHORTEST <= length <= KEY_LENGTH:
        raise ValueError(f"a key has {SHORTEST} to {KEY_LENGTH} characters")
    return base64.b32encode(data[:_BYTES]).decode()[:length]
