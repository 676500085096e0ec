"""HTTP Basic (RFC 7617) for the public port: constant time, two pairs at once, hashed or generated.

A generated password is compared by its SHA-256, a hashed password by argon2, which takes tens of
milliseconds. So a header that was accepted is remembered by a keyed digest (BLAKE2b) whose key lives only in
this process. A refused header is never remembered. Argon2 hashes are computed one at a time, and only a few
requests may wait for that, none for longer than it has; so a flood of wrong passwords does not delay callers
whose header is remembered.
This module may not know what is served.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError

from adapter.errors import Code, Refused
from adapter.settings import SHORTEST_PASSWORD, Koshelek

_HASH_PREFIX = "$argon2"
_MOST_REMEMBERED = 100  # headers: the same pair can be written in several ways ("basic", blanks)
_MOST_JUDGED = 8  # headers; a hash takes about a tenth of a second, and callers wait about four seconds


def hash_password(password: str) -> str:
    """The argon2id hash to put into the settings."""
    return PasswordHasher().hash(password)


def is_cut_short(hashed: str) -> bool:
    """Whether nothing can be compared with this argon2 hash, as a shell or an editor took a part of it."""
    try:
        extract_parameters(hashed)
        base64.b64decode(f"{hashed.rpartition('$')[2]}===", validate=False)
    except (InvalidHashError, ValueError):
        return True
    return False


def unusable(settings: Koshelek) -> str | None:
    """Why nothing may be served with the current password, and the remedy; ``None``: it may."""
    remedy = "`koshelek-adapter config new` writes a file with a generated one"
    if settings.password is None:
        return f"koshelek.password: not set; {remedy}"
    text = settings.password.get_secret_value()
    if len(text) < SHORTEST_PASSWORD:
        return f"koshelek.password: shorter than {SHORTEST_PASSWORD} characters; {remedy}"
    if text.startswith(_HASH_PREFIX) and is_cut_short(text):
        return "koshelek.password: the hash is cut short; `koshelek-adapter config hash` prints a whole one"
    return None


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """An accepted pair. ``password`` is the plain text or an argon2 hash."""

    login: str
    password: str

    @property
    def is_hashed(self) -> bool:
        return self.password.startswith(_HASH_PREFIX)

    def digest(self) -> bytes:
        """SHA-256 of the pair as it is written in the header, before Base64."""
        return hashlib.sha256(f"{self.login}:{self.password}".encode()).digest()


def credentials_of(settings: Koshelek) -> list[Credential]:
    """The pairs the settings accept: the current pair and, during a rotation, the previous pair."""
    pairs = []
    if settings.password is not None:
        pairs.append(Credential(settings.login, settings.password.get_secret_value()))
    if settings.previous_login is not None and settings.previous_password is not None:
        pairs.append(Credential(settings.previous_login, settings.previous_password.get_secret_value()))
    return pairs


@dataclass(slots=True, repr=False)
class Authenticator:
    """Decides whether an ``Authorization`` header is one of the accepted pairs."""

    credentials: Sequence[Credential]
    _digests: list[bytes] = field(init=False)
    _hashed: list[Credential] = field(init=False)
    _key: bytes = field(init=False, default_factory=lambda: secrets.token_bytes(32))
    _accepted: set[bytes] = field(init=False, default_factory=set)
    _judged: dict[bytes, asyncio.Task[bool]] = field(init=False, default_factory=dict)
    _one_at_a_time: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self._digests = [pair.digest() for pair in self.credentials if not pair.is_hashed]
        self._hashed = [pair for pair in self.credentials if pair.is_hashed]

    async def accepts(self, header: str | None, patience: float) -> bool:
        """Whether the header carries an accepted pair; malformed headers do not.

        Args:
            header: as it came.
            patience: seconds that there are to compute a hash; a remembered header needs none.

        Raises ``Refused(OVERLOADED)`` if its hash has to be computed, and too many requests wait for that or
        it takes too long.
        """
        if header is None:
            return False
        token = hashlib.blake2b(header.encode("utf-8", "surrogateescape"), key=self._key).digest()
        if token in self._accepted:
            return True
        pair = _decode(header)
        if pair is None:
            return False
        digest = hashlib.sha256(pair).digest()
        accepted = False
        for known in self._digests:  # every pair is compared, so the time does not tell which matched
            accepted |= hmac.compare_digest(digest, known)
        if accepted:
            self._remember(token)
        if accepted or not self._hashed:
            return accepted
        judged = self._judged.get(token)
        if judged is None:
            if len(self._judged) >= _MOST_JUDGED:
                raise Refused(Code.OVERLOADED)
            judged = self._judged[token] = asyncio.create_task(self._judge(pair, token))
        try:
            async with asyncio.timeout(patience):
                return await asyncio.shield(judged)
        except TimeoutError:
            raise Refused(Code.OVERLOADED) from None

    async def _judge(self, pair: bytes, token: bytes) -> bool:
        """Whether the pair fits a hashed password; computed once for all requests with this header."""
        try:
            async with self._one_at_a_time:  # a flood must not take every core and all memory
                accepted = await asyncio.to_thread(self._verify, pair)
            if accepted:
                self._remember(token)
            return accepted
        finally:
            del self._judged[token]

    def _remember(self, token: bytes) -> None:
        if len(self._accepted) < _MOST_REMEMBERED:
            self._accepted.add(token)

    def _verify(self, pair: bytes) -> bool:
        login, _, password = pair.partition(b":")
        accepted = False
        for known in self._hashed:
            same_login = hmac.compare_digest(login, known.login.encode())
            try:
                accepted |= PasswordHasher().verify(known.password, password) and same_login
            except (VerificationError, InvalidHashError):
                continue
        return accepted


def _decode(header: str) -> bytes | None:
    """``login:password`` of a Basic header, or ``None``."""
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        pair = base64.b64decode(token.strip().encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        return None
    return pair if b":" in pair else None
