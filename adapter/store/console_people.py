"""People who may log in to the console, as ``koshelek-adapter people`` keeps them; passwords are hashed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from adapter.settings import Person
from adapter.store.pool import Gateway

_ADD = """
    INSERT INTO koshelek.console_people (name, role, password, added_by) VALUES ($1, $2, $3, $4)
    ON CONFLICT (name) DO UPDATE
       SET role = excluded.role, password = excluded.password, added_at = now(), added_by = excluded.added_by
    RETURNING xmax = 0 AS new
"""


@dataclass(frozen=True, slots=True)
class Added:
    """Somebody who may log in, and who let them in."""

    person: Person
    at: datetime
    by: str


class PostgresConsolePeople:
    """Implements ``adapter.ops.console.ports.PeopleBook``. Raises ``StoreUnavailable``."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def people(self) -> Sequence[Person]:
        return [added.person for added in await self.added()]

    async def added(self) -> Sequence[Added]:
        async with self._gateway.connection() as connection:
            rows = await connection.fetch(
                "SELECT name, role, password, added_at, added_by FROM koshelek.console_people ORDER BY name"
            )
        return [
            Added(
                Person(name=row["name"], role=row["role"], password=row["password"]),
                row["added_at"],
                row["added_by"],
            )
            for row in rows
        ]

    async def add(self, person: Person, *, by: str) -> bool:
        """Let somebody in, or give them another role and password; whether they are new."""
        async with self._gateway.connection() as connection:
            hashed = person.password.get_secret_value()
            return bool(await connection.fetchval(_ADD, person.name, person.role, hashed, by))

    async def remove(self, name: str) -> bool:
        """Let somebody in no more; whether they were let in."""
        async with self._gateway.connection() as connection:
            tag = await connection.execute("DELETE FROM koshelek.console_people WHERE name = $1", name)
        return bool(tag == "DELETE 1")
