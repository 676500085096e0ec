"""What a CRM is given to recognise an operation of ours by, the same for every attempt.

A key never repeats: not after a loss of the adapter's database, not between two adapters over one CRM.
A receipt's is made of its fiscal identity, so that the same receipt stays one there too; every other one is
random. Capital letters and digits, so that neither a CRM's case nor its usual lengths change it. It may not
know any driver or database.
"""

from __future__ import annotations

import base64
import hashlib
import secrets

from crm_backends.ports import KEY_LENGTH

SHORTEST = 16
"""Characters, 80 bits: the chance that any two of a billion operations share one is below one in a
million."""
_BYTES = -(-KEY_LENGTH * 5 // 40) * 5
"""Of what a key is made of, as many as its characters need, in the whole groups of five that base32 has."""


def receipt_key(fiscal_drive: str, document: str, sign: str, length: int = KEY_LENGTH) -> str:
    """The key of a receipt (fn, i, fp), of so many characters. It does not tell what it is made of."""
    return _text(hashlib.sha256(f"{fiscal_drive}:{document}:{sign}".encode()).digest(), length)


def new_key(length: int = KEY_LENGTH) -> str:
    """A random key of so many characters."""
    return _text(secrets.token_bytes(KEY_LENGTH), length)


def _text(data: bytes, length: int) -> str:
    if not SHORTEST <= length <= KEY_LENGTH:
        raise ValueError(f"a key has {SHORTEST} to {KEY_LENGTH} characters")
    return base64.b32encode(data[:_BYTES]).decode()[:length]
