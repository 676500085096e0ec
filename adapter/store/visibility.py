"""What is kept of how soon each CRM shows what it has done; shared by all processes of one database.

One row for each kind of operation. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from adapter.loyalty.model import OperationKind
from adapter.loyalty.ports import Proof, Visibility

if TYPE_CHECKING:
    import asyncpg

    from adapter.store.pool import Gateway

_COLUMNS = "state, worst_seconds, found, proved_at, changed_at"
_ALL = f"SELECT kind, crm, {_COLUMNS} FROM koshelek.visibility"  # noqa: S608
# What another CRM has shown counts for nothing. What was refuted stays so until a person says otherwise.
_FOUND = f"""
    INSERT INTO koshelek.visibility AS known (kind, crm, state, worst_seconds, found, proved_at, looked_at)
    VALUES ($1, $2, 'proved', $3, 1, now(), now())
    ON CONFLICT (kind) DO UPDATE
       SET crm = EXCLUDED.crm,
           state = CASE WHEN known.crm = EXCLUDED.crm AND known.state = 'refuted'
                        THEN 'refuted' ELSE 'proved' END,
           worst_seconds = CASE WHEN known.crm = EXCLUDED.crm
                                THEN greatest(known.worst_seconds, EXCLUDED.worst_seconds)
                                ELSE EXCLUDED.worst_seconds END,
           found = CASE WHEN known.crm = EXCLUDED.crm THEN known.found + 1 ELSE 1 END,
           proved_at = now(), looked_at = now(),
           changed_at = CASE WHEN known.crm = EXCLUDED.crm AND known.state <> 'not_proved'
                             THEN known.changed_at ELSE now() END
    RETURNING {_COLUMNS}
"""  # noqa: S608
_MISSING = f"""
    INSERT INTO koshelek.visibility AS known (kind, crm, state, worst_seconds, looked_at)
    VALUES ($1, $2, 'not_proved', $3, now())
    ON CONFLICT (kind) DO UPDATE
       SET crm = EXCLUDED.crm, looked_at = now(),
           state = CASE WHEN known.crm = EXCLUDED.crm THEN known.state ELSE 'not_proved' END,
           worst_seconds = CASE WHEN known.crm = EXCLUDED.crm
                                THEN greatest(known.worst_seconds, EXCLUDED.worst_seconds)
                                ELSE EXCLUDED.worst_seconds END,
           found = CASE WHEN known.crm = EXCLUDED.crm THEN known.found ELSE 0 END,
           changed_at = CASE WHEN known.crm = EXCLUDED.crm THEN known.changed_at ELSE now() END
    RETURNING {_COLUMNS}
"""  # noqa: S608
_NOT_FOUND = f"""
    INSERT INTO koshelek.visibility AS known (kind, crm, state, looked_at) VALUES ($1, $2, 'refuted', now())
    ON CONFLICT (kind) DO UPDATE
       SET crm = EXCLUDED.crm, state = 'refuted', looked_at = now(),
           worst_seconds = CASE WHEN known.crm = EXCLUDED.crm THEN known.worst_seconds ELSE 0 END,
           found = CASE WHEN known.crm = EXCLUDED.crm THEN known.found ELSE 0 END,
           changed_at = CASE WHEN known.crm = EXCLUDED.crm AND known.state = 'refuted'
                             THEN known.changed_at ELSE now() END
    RETURNING {_COLUMNS}
"""  # noqa: S608


def _visibility(row: asyncpg.Record) -> Visibility:
    return Visibility(
        proof=Proof(row["state"]),
        worst_seconds=row["worst_seconds"],
        found=row["found"],
        proved_at=row["proved_at"],
        changed_at=row["changed_at"],
    )


class PostgresVisibility:
    """Implements ``adapter.loyalty.ports.VisibilityBook``. Raises ``StoreUnavailable`` from everything."""

    def __init__(self, gateway: Gateway, crms: Mapping[OperationKind, str]) -> None:
        self._gateway = gateway
        self._crms = crms

    async def known(self) -> Mapping[OperationKind, Visibility]:
        async with self._gateway.connection() as connection:
            rows = await connection.fetch(_ALL)
        return {
            kind: _visibility(row)
            for row in rows
            for kind, crm in self._crms.items()
            if row["kind"] == kind and row["crm"] == crm
        }

    async def found(self, kind: OperationKind, seconds: float) -> Visibility:
        return await self._write(_FOUND, kind, seconds)

    async def missing(self, kind: OperationKind, seconds: float) -> Visibility:
        return await self._write(_MISSING, kind, seconds)

    async def not_found(self, kind: OperationKind) -> Visibility:
        return await self._write(_NOT_FOUND, kind)

    async def _write(self, statement: str, kind: OperationKind, *seconds: float) -> Visibility:
        async with self._gateway.connection() as connection:
            row = await connection.fetchrow(statement, kind, self._crms[kind], *seconds)
        assert row is not None  # noqa: S101 - an upsert returns its row
        return _visibility(row)

    async def forget(self, kind: OperationKind) -> bool:
        """Begin anew: a person says that the CRM is mended; tells whether anything was known of it."""
        async with self._gateway.connection() as connection:
            tag = await connection.execute("DELETE FROM koshelek.visibility WHERE kind = $1", kind)
        return bool(tag == "DELETE 1")
