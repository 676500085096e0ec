"""Who did what in the console. Rows are only ever added here; personal data are never written into a note."""

from __future__ import annotations

from collections.abc import Sequence

from adapter.loyalty.review import AuditAction, AuditEntry
from adapter.store.pool import Gateway

_LATEST = """
    SELECT id, at, who, action, operation_id, card_number, note FROM koshelek.console_audit
     WHERE $2::bigint IS NULL OR id < $2
     ORDER BY id DESC LIMIT $1
"""


class PostgresAudit:
    """Raises ``StoreUnavailable`` from everything."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def note(
        self,
        who: str,
        action: AuditAction,
        *,
        operation_id: int | None = None,
        card_number: str | None = None,
        note: str | None = None,
    ) -> None:
        async with self._gateway.connection() as connection:
            await connection.execute(
                "INSERT INTO koshelek.console_audit (who, action, operation_id, card_number, note) "
                "VALUES ($1, $2, $3, $4, $5)",
                who,
                action,
                operation_id,
                card_number,
                note,
            )

    async def latest(self, limit: int, *, before: int | None = None) -> Sequence[AuditEntry]:
        async with self._gateway.connection() as connection:
            rows = await connection.fetch(_LATEST, limit, before)
        return [AuditEntry(**row) for row in rows]
