"""The people's side of the operations ledger: what waits, what happened, and what a person decides.

A decision locks its rows, so of two at the same time the second sees what the first one did. Personal
data stays in the database: of a registration's profile nothing is ever selected here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import asyncpg

from adapter.errors import Code
from adapter.loyalty.idempotency_keys import SHORTEST, new_key
from adapter.loyalty.model import (
    CERTAINLY_NOT_SENT,
    DONE_TWICE,
    FINAL,
    FOR_A_PERSON,
    OperationKind,
    OperationState,
    former_key,
)
from adapter.loyalty.moments import for_people
from adapter.loyalty.payloads import CouponsPayload, Payload, ReceiptPayload
from adapter.loyalty.refusal_codes import refusal_code
from adapter.loyalty.review import CannotDecide, Event, Item, Settled
from adapter.store.operation_rows import json_text, payload_of
from adapter.store.pool import Gateway
from adapter.store.queue import AGAIN, enqueue, next_try

if TYPE_CHECKING:
    from adapter.store.pool import Connection

_PATIENCE = 60.0  # seconds; a person waits longer than a caller
_TOGETHER = 500

_COLUMNS = """
    operation.id, kind, card_number, state, operation.attempt, recorded_at, sent_at, finished_at, code,
    points, crm_reference, reason, detail, doubted, reference AS idempotency_key, history.held_at,
    -- Of a registration nothing: it is a person's profile.
    CASE WHEN kind <> 'registration' THEN request END AS request
"""
_HISTORY = """
    LEFT JOIN LATERAL (
        SELECT max(at) AS held_at FROM koshelek.operation_events
         WHERE operation_id = operation.id AND to_state = 'held'
    ) AS history ON operation.state = 'held'
"""
_LIST = f"""
    SELECT {_COLUMNS}
      FROM (SELECT * FROM koshelek.operations WHERE {{where}} ORDER BY id {{order}} LIMIT $1) AS operation
      {_HISTORY}
     ORDER BY operation.id {{order}}
"""  # noqa: S608
_LOCK = """
    SELECT id, kind, state, points, request FROM koshelek.operations WHERE id = ANY($1) ORDER BY id FOR UPDATE
"""
_LAST_DECISION = """
    SELECT at, who, from_state, to_state FROM koshelek.operation_events
     WHERE operation_id = $1 AND who IS NOT NULL ORDER BY id DESC LIMIT 1
"""
_DECISIONS = """
    SELECT operation_id, at, who, from_state, to_state, attempt, sent_at, note FROM koshelek.operation_events
     WHERE who IS NOT NULL ORDER BY id DESC LIMIT $1
"""
_WHO_AND_WHY = "SELECT set_config('koshelek.who', $1, true), set_config('koshelek.note', $2, true)"
# As a doubt it is looked for in the CRM once more, and sent only if it is not there.
_REQUEUE = """
    UPDATE koshelek.operations
       SET state = CASE WHEN $2 THEN 'unknown' ELSE 'recorded' END, reason = NULL, before = NULL,
           requeued_at = now(), looked_at = NULL, answering_since = NULL
     WHERE id = ANY($1)
"""
# What the end of a delivery writes, by another hand.
_SETTLE = """
    UPDATE koshelek.operations
       SET state = $2, code = $3, points = $4, crm_reference = coalesce($5, crm_reference), reason = NULL,
           detail = NULL, finished_at = now(),
           request = CASE WHEN kind = 'registration' THEN '{}' ELSE request END,
           live = NOT (kind <> 'receipt' AND $2 = 'refused')
     WHERE id = $1
"""
_DOUBLED = """
    UPDATE koshelek.operations SET state = 'doubled', reason = $2, crm_reference = $3 WHERE id = $1
"""
# Where the state stays, the trigger that keeps what happened has nothing to tell.
_CORRECTED = """
    INSERT INTO koshelek.operation_events (operation_id, who, from_state, to_state, attempt, note)
    SELECT id, $2, state, state, attempt, $3 FROM koshelek.operations WHERE id = $1
"""
_COUPONS = """
    INSERT INTO koshelek.operations (kind, identity, card_number, fingerprint, request, reference)
    SELECT 'coupons', 'receipt:' || id, card_number, '', $2, $3 FROM koshelek.operations WHERE id = $1
    ON CONFLICT (kind, identity) WHERE live DO NOTHING
    RETURNING id
"""
_RELEASE = "DELETE FROM koshelek.account_leases WHERE operation_id = ANY($1)"


def _item(row: asyncpg.Record) -> Item:
    kind = OperationKind(row["kind"])
    payload = payload_of(kind, row)
    expected = _points_due(payload) if row["state"] not in FINAL else None
    return Item(
        id=row["id"],
        kind=kind,
        state=OperationState(row["state"]),
        idempotency_key=row["idempotency_key"] or former_key(kind, row["id"]),
        card_number=row["card_number"],
        attempt=row["attempt"],
        recorded_at=row["recorded_at"],
        sent_at=row["sent_at"],
        finished_at=row["finished_at"],
        held_at=row["held_at"],
        reason=row["reason"],
        detail=row["detail"],
        code=Code(row["code"]) if row["code"] else None,
        points=expected if expected is not None else row["points"],
        crm_reference=row["crm_reference"],
        payload=payload,
        may_double=row["reason"] != CERTAINLY_NOT_SENT or row["doubted"],
    )


def _event(row: asyncpg.Record) -> Event:
    return Event(
        at=row["at"],
        who=row["who"],
        from_state=OperationState(row["from_state"]),
        to_state=OperationState(row["to_state"]),
        attempt=row["attempt"],
        sent_at=row["sent_at"],
        note=row["note"],
    )


class PostgresReview:
    """Lists, shows and decides. Raises ``StoreUnavailable`` from everything."""

    def __init__(self, gateway: Gateway, zone: tzinfo = UTC) -> None:
        """``zone``: of the times in sentences."""
        self._gateway = gateway
        self._zone = zone

    async def held(self, kind: OperationKind | None, limit: int, *, after: int = 0) -> list[Item]:
        """Those that wait for a person, oldest first."""
        found: list[Item] = []
        for state in FOR_A_PERSON:  # one by one: each has an index of its own
            conditions = [("state = {}", state), ("kind = {}", kind), ("id > {}", after)]
            found += await self._list(conditions, limit, "ASC")
        return sorted(found, key=lambda item: item.id)[:limit]

    async def newest(
        self,
        *,
        state: OperationState | None,
        kind: OperationKind | None,
        card: str | None,
        since: datetime | None,
        limit: int,
    ) -> list[Item]:
        """Operations, newest first."""
        conditions = [("state = {}", state), ("kind = {}", kind), ("card_number = {}", card)]
        return await self._list([*conditions, ("recorded_at >= {}", since)], limit, "DESC")

    async def _list(self, conditions: Sequence[tuple[str, Any]], limit: int, order: str) -> list[Item]:
        given = [(text, value) for text, value in conditions if value is not None]
        where = " AND ".join(text.format(f"${place}") for place, (text, _) in enumerate(given, 2)) or "true"
        statement = _LIST.format(where=where, order=order)
        async with self._gateway.connection() as connection:
            rows = await connection.fetch(statement, limit, *[value for _, value in given], timeout=_PATIENCE)
        return [_item(row) for row in rows]

    async def show(self, operation_id: int) -> tuple[Item, list[Event]] | None:
        """An operation and what happened to it, oldest first; ``None`` when there is none."""
        found = await self._list([("id = {}", operation_id)], 1, "ASC")
        if not found:
            return None
        async with self._gateway.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT at, who, from_state, to_state, attempt, sent_at, note FROM koshelek.operation_events
                 WHERE operation_id = $1 ORDER BY id
                """,
                operation_id,
            )
            next_at = await next_try(connection, operation_id)
        return dataclasses.replace(found[0], next_at=next_at), [_event(row) for row in rows]

    async def of_receipt(self, fiscal_drive: str, document: str, sign: str) -> list[Item]:
        """Operations of this receipt, newest first: the living one, and any that was refused before."""
        identity = f"{fiscal_drive}:{document}:{sign}"
        living: list[tuple[str, Any]] = [("kind = {}", OperationKind.RECEIPT), ("identity = {}", identity)]
        found = await self._list([*living, ("live = {}", True)], 1, "DESC")
        if found:
            return found
        # No index leads to these; there are few, and only a person looks for them.
        return await self._list([*living, ("live = {}", False)], 10, "DESC")

    async def decisions(self, limit: int) -> list[tuple[int, Event]]:
        """What people decided last, newest first, each with the operation's number."""
        async with self._gateway.connection() as connection:
            rows = await connection.fetch(_DECISIONS, limit)
        return [(row["operation_id"], _event(row)) for row in rows]

    async def some(self, operation_ids: Sequence[int]) -> AsyncIterator[list[Item]]:
        """The operations with these ids, as far as they exist, in portions."""
        ids = sorted(set(operation_ids))
        for start in range(0, len(ids), _TOGETHER):
            portion = ids[start : start + _TOGETHER]
            if found := await self._list([("id = ANY({})", portion)], len(portion), "ASC"):
                yield found

    async def all_held(self, kind: OperationKind | None) -> AsyncIterator[list[Item]]:
        """All that wait for a person, in portions."""
        after = 0
        while portion := await self.held(kind, _TOGETHER, after=after):
            yield portion
            after = portion[-1].id

    async def requeue(
        self, operation_ids: Sequence[int], *, by: str, note: str, as_doubts: bool = False
    ) -> dict[int, str]:
        """Send held operations again: back to recorded, each with a new job, all or none of them.

        ``as_doubts``: each is looked for in the CRM first, and sent only if it is not there. Returns the ids
        that were left alone, each with the reason as one sentence.
        """
        left: dict[int, str] = {}
        async with self._gateway.connection() as connection, connection.transaction():
            rows = await connection.fetch(_LOCK, list(operation_ids), timeout=_PATIENCE)
            known = {row["id"]: row["state"] for row in rows}
            chosen = [row["id"] for row in rows if row["state"] == OperationState.HELD]
            for operation_id in operation_ids:
                state = known.get(operation_id, "gone")
                if state != OperationState.HELD:
                    decided = await _by_whom(connection, operation_id, self._zone)
                    left[operation_id] = (
                        f"operation {operation_id} is {state}, only a held one can be sent again{decided}"
                    )
            if chosen:
                await connection.execute(_WHO_AND_WHY, by, note)
                await connection.execute(_REQUEUE, chosen, as_doubts)
                await connection.execute(_RELEASE, chosen)
                await enqueue(connection, chosen, AGAIN)
        return left

    async def settle(
        self,
        operation_id: int,
        state: OperationState,
        *,
        by: str,
        note: str,
        points: Decimal | None = None,
        customer: str | None = None,
        occasion: str | None = None,
        correct: bool = False,
    ) -> Settled:
        """End a held or doubtful operation as a person found out that it ended in the CRM.

        ``state`` is done or refused. ``points``: what the CRM credited, where it is not what we asked for.
        ``customer``: what the CRM calls the result, for a registration the person. ``occasion``: on which a
        receipt that was credited gives coupons. ``correct``: what a person decided before was wrong; both
        decisions are kept. The caller who waits or asks again gets the usual answer. Raises ``CannotDecide``.
        """
        async with self._gateway.connection() as connection, connection.transaction():
            row = await connection.fetchrow(_LOCK, [operation_id], timeout=_PATIENCE)
            if row is None:
                raise CannotDecide(f"there is no operation {operation_id}")
            now, kind = OperationState(row["state"]), OperationKind(row["kind"])
            if now in FINAL:
                decided = await _by_whom(connection, operation_id, self._zone)
                told = f"operation {operation_id} is already {now}{decided}"
                if now is state and points in (None, row["points"]) and customer is None:
                    return Settled(now, told)
                await _must_be_a_persons(connection, operation_id, now)
                if not correct:
                    raise CannotDecide(told, needs="correction")
            elif now not in (*FOR_A_PERSON, OperationState.UNKNOWN):
                raise CannotDecide(
                    f"operation {operation_id} is {now}: it is being delivered; only a held or unknown one "
                    "can be settled"
                )
            code = None if state is OperationState.DONE else refusal_code(kind, None)
            points = _points_of(kind, state, points, payload_of(kind, row))
            if kind is OperationKind.REGISTRATION and state is OperationState.DONE and not customer:
                raise CannotDecide(f"operation {operation_id} is a registration", needs="customer")
            await connection.execute(_WHO_AND_WHY, by, note)
            if now is state:
                await connection.execute(_CORRECTED, operation_id, by, note)
            try:
                async with connection.transaction():
                    await connection.execute(_SETTLE, operation_id, state, code, points, customer)
            except asyncpg.UniqueViolationError:
                raise CannotDecide(
                    f"what operation {operation_id} stood for has been recorded anew since; decide about that"
                ) from None
            await connection.execute(_RELEASE, [operation_id])
            if kind is OperationKind.RECEIPT and state is OperationState.DONE and occasion is not None:
                await _give_coupons(connection, operation_id, occasion)
        return Settled(state)

    async def doubled(self, operation_id: int, entries: Sequence[str], *, by: str, note: str) -> bool:
        """A held operation was found in the CRM more than once; tells whether it still was held."""
        async with self._gateway.connection() as connection, connection.transaction():
            row = await connection.fetchrow(_LOCK, [operation_id], timeout=_PATIENCE)
            if row is None or row["state"] != OperationState.HELD:
                return False
            await connection.execute(_WHO_AND_WHY, by, note)
            await connection.execute(_DOUBLED, operation_id, DONE_TWICE, ", ".join(entries))
        return True


async def _must_be_a_persons(connection: Connection, operation_id: int, now: OperationState) -> None:
    """Raise ``CannotDecide`` unless it was a person who ended the operation."""
    row = await connection.fetchrow(_LAST_DECISION, operation_id)
    if row is None or row["to_state"] not in FINAL:
        raise CannotDecide(
            f"operation {operation_id} is {now}: it was ended by the CRM's own answer, not by a person"
        )


async def _give_coupons(connection: Connection, operation_id: int, occasion: str) -> None:
    """What a receipt that is credited gives besides, once (``loyalty.coupon_triggers`` for those settled by
    hand)."""
    new = await connection.fetchval(
        # The shortest key fits every CRM; which one the coupons are from is not known here.
        _COUPONS,
        operation_id,
        json_text(CouponsPayload(occasion).to_json()),
        new_key(SHORTEST),
    )
    if new is not None:
        await enqueue(connection, [new])


def _points_of(
    kind: OperationKind, state: OperationState, points: Decimal | None, payload: Payload | None
) -> Decimal | None:
    """Points to be written down: what the person says, else what the receipt was worth."""
    if points is not None and (kind is OperationKind.REGISTRATION or state is not OperationState.DONE):
        raise CannotDecide("points go with a receipt or a promo code that was credited, with nothing else")
    if points is None and kind is OperationKind.RECEIPT and state is OperationState.DONE:
        return _points_due(payload)
    return points


def _points_due(payload: Payload | None) -> Decimal | None:
    """Points that the CRM was, or is, to credit as we say."""
    return payload.points if isinstance(payload, ReceiptPayload) else None


async def _by_whom(connection: Connection, operation_id: int, zone: tzinfo) -> str:
    """Who decided last, as the end of a sentence; empty when nobody did."""
    row = await connection.fetchrow(_LAST_DECISION, operation_id)
    if row is None:
        return ""
    again = (OperationState.RECORDED, OperationState.UNKNOWN)
    did = "sent it again" if row["to_state"] in again else "settled it"
    return f"; {row['who']} {did} at {for_people(row['at'], zone)}"
