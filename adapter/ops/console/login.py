"""Whether a name and a password belong together, and how often one may try. It may not know any page.

A password is judged one at a time, since its hash takes a tenth of a second and megabytes; a name nobody has
takes as long as a wrong password. Who fails too often waits, by name and by address.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from adapter.loyalty.ports import StoreUnavailable
from adapter.ops.console.ports import PeopleBook
from adapter.settings import Person
from adapter.settings.console_section import HASHED

WITHIN = 300.0
"""Seconds for which a failure counts."""
MOST_BY_NAME = 10
MOST_BY_ADDRESS = 20
_MOST_REMEMBERED = 10_000
_MOST_WAITING = 8
_FRESH = 5.0
"""Seconds for which people that were read are believed."""


class TooOften(Exception):
    """Too many failures; ``seconds``: how long to wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"too many failed attempts; wait {seconds:.0f} seconds")
        self.seconds = seconds


@dataclass
class Failures:
    """Failed attempts of the last minutes, by whatever they are counted by."""

    most: int
    now: Callable[[], float] = time.monotonic
    _known: dict[str, deque[float]] = field(default_factory=dict)

    def wait(self, key: str) -> float:
        """Seconds until the next attempt is allowed; 0: now."""
        times = self._known.get(key)
        if times is None:
            return 0.0
        while times and self.now() - times[0] > WITHIN:
            times.popleft()
        if not times:
            del self._known[key]
            return 0.0
        return WITHIN - (self.now() - times[0]) if len(times) >= self.most else 0.0

    def note(self, key: str) -> None:
        while len(self._known) >= _MOST_REMEMBERED and key not in self._known:
            del self._known[next(iter(self._known))]
        self._known.setdefault(key, deque(maxlen=self.most)).append(self.now())

    def forget(self, key: str) -> None:
        self._known.pop(key, None)


NOBODYS = "$argon2id$v=19$m=65536,t=3,p=4$WAOSjWgb+lsKF99C/7gOkw$8i0ttU//dY1U07RkG81SJDCjkmQ3BLu/HYlqDiXyNlU"
"""A hash to try a password against where nobody has the name: that takes as long as with somebody's."""


class Doorkeeper:
    """Knows the people of the settings, and those who were added since."""

    def __init__(
        self, people: Sequence[Person], book: PeopleBook, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._of_settings = {person.name: person for person in people}
        self._book = book
        self._now = now
        self._people: Mapping[str, Person] = self._of_settings
        self._read_at = float("-inf")
        self._hasher = PasswordHasher()
        self._by_name = Failures(MOST_BY_NAME, now)
        self._by_address = Failures(MOST_BY_ADDRESS, now)
        self._one_at_a_time = asyncio.Lock()
        self._waiting = 0

    async def person(self, name: str, *, at_once: bool = False) -> Person | None:
        """The person with this name who may log in. ``at_once``: also somebody who was added just now."""
        if at_once or self._now() - self._read_at > _FRESH:
            with suppress(StoreUnavailable):  # until it answers, the people read before count
                added = {person.name: person for person in await self._book.people()}
                self._people = {**added, **self._of_settings}
                self._read_at = self._now()
        return self._people.get(name)

    async def judge(self, name: str, password: str, address: str) -> Person | None:
        """The person, if the password is theirs. Raises ``TooOften``."""
        wait = max(self._by_name.wait(name), self._by_address.wait(address))
        if wait > 0:
            raise TooOften(wait)
        if self._waiting >= _MOST_WAITING:
            raise TooOften(5.0)
        # Counted before the password is checked: else many attempts at once would all pass the limit.
        self._by_name.note(name)
        self._by_address.note(address)
        person = await self.person(name, at_once=True)
        self._waiting += 1
        try:
            async with self._one_at_a_time:
                right = await asyncio.to_thread(self._fits, person, password)
        finally:
            self._waiting -= 1
        if not right:
            return None
        self._by_name.forget(name)
        self._by_address.forget(address)
        return person

    def _fits(self, person: Person | None, password: str) -> bool:
        known = NOBODYS if person is None else person.password.get_secret_value()
        if not known.startswith(HASHED):
            return hmac.compare_digest(known.encode(), password.encode("utf-8", "surrogatepass"))
        try:
            return self._hasher.verify(known, password) and person is not None
        except (VerificationError, InvalidHashError):
            return False
