"""Programs of two versions on one database: the one before knows nothing of references that are kept.

It would send an operation of ours under another reference, or look for it under that one and take its absence
for proof. Its statements are given here as it makes them; they move nothing of ours, and nothing is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from adapter.loyalty.model import Operation, OperationKind, OperationState, former_key
from adapter.store.pool import Gateway
from adapter.store.upkeep import PostgresUpkeep

from .conftest import Adapter, StartAdapter, new_phone

INSERT = """
    INSERT INTO koshelek.operations (kind, identity, card_number, fingerprint, request)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::jsonb[])
    ON CONFLICT (kind, identity) WHERE live DO NOTHING
    RETURNING id
"""
BEGIN = """
    UPDATE koshelek.operations AS operation
       SET state = 'sent', attempt = attempt + 1, sent_at = now(), before = begun.balance
      FROM unnest($1::bigint[], $2::jsonb[], $3::text[]) AS begun (operation_id, balance, resendable)
     WHERE operation.id = begun.operation_id
       AND (state = 'recorded'
            OR (state = 'unknown' AND kind = ANY(string_to_array(begun.resendable, ','))))
       AND (begun.balance IS NULL OR EXISTS (
               SELECT FROM koshelek.account_leases AS lease
                WHERE lease.operation_id = operation.id AND lease.until > now()
           ))
    RETURNING operation.id, operation.attempt
"""
END = """
    UPDATE koshelek.operations AS operation
       SET state = ended.state, code = ended.code, points = ended.points,
           crm_reference = ended.crm_reference, message = ended.message, reason = ended.reason,
           finished_at = CASE WHEN ended.state IN ('done', 'refused') THEN now() END
      FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::numeric[], $6::text[], $7::text[],
                  $8::text[], $9::boolean[])
           AS ended (operation_id, attempt, state, code, points, crm_reference, message, reason, nobody)
     WHERE operation.id = ended.operation_id AND operation.attempt = ended.attempt
       AND (operation.state IN ('sent', 'unknown')
            OR (operation.state = 'recorded' AND ended.state = 'held'))
    RETURNING operation.id
"""
AGAIN = """
    UPDATE koshelek.operations SET state = 'recorded'
     WHERE id = $1 AND attempt = $2 AND state IN ('sent', 'unknown')
"""
QR = "/v1/promo/qrCode"


class Older:
    """A program of the version before, as far as its statements go."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self._connection = connection

    async def record(self, card: str, identity: str, request: str) -> int:
        kinds = ["receipt"], [identity], [card], ["fingerprint"], [request]
        return int(await self._connection.fetchval(INSERT, *kinds))

    async def begin(self, operation_id: int, resendable: str = "") -> bool:
        rows = await self._connection.fetch(BEGIN, [operation_id], [None], [resendable])
        return bool(rows)

    async def end(self, operation: Operation, state: str) -> bool:
        nothing: list[None] = [None]
        rows = await self._connection.fetch(
            END,
            *([operation.id], [operation.attempt], [state]),
            *(nothing, nothing, nothing, nothing, nothing, [False]),
        )
        return bool(rows)

    async def again(self, operation: Operation) -> bool:
        return await self._connection.execute(AGAIN, operation.id, operation.attempt) == "UPDATE 1"


@pytest.fixture
async def older(database: str) -> AsyncIterator[Older]:
    connection = await asyncpg.connect(database)
    yield Older(connection)
    await connection.close()


@pytest.fixture
async def adapter(start: StartAdapter) -> Adapter:
    return await start(receipts={"wait": 0}, delivery={"retry_first": 0.05, "reconcile_after": 0.2})


async def recorded(adapter: Adapter) -> Operation:
    """A receipt of ours that nobody delivers for now."""
    card = await adapter.issue(phone=new_phone())
    await adapter.service.stop_delivery()
    assert (await adapter.post(QR, {"qrCode": adapter.qr(), "cardNumber": card})).status == 200
    newest = "SELECT max(id) FROM koshelek.operations WHERE kind = 'receipt'"
    return await get(adapter, await adapter.sql(newest))


async def get(adapter: Adapter, operation_id: int) -> Operation:
    found = await adapter.service.operations.get(operation_id)
    assert found is not None
    return found


async def test_it_does_not_begin_what_was_recorded_under_a_reference_of_its_own(
    adapter: Adapter, older: Older
) -> None:
    operation = await recorded(adapter)
    assert not await older.begin(operation.id)
    assert (await get(adapter, operation.id)).state is OperationState.RECORDED
    assert await adapter.service.operations.begin(operation.id) is not None


async def test_it_does_not_send_again_what_is_in_doubt(adapter: Adapter, older: Older) -> None:
    """Neither where the reference makes that harmless, for it would give another one; nor what it did not
    find."""
    operations = adapter.service.operations
    begun = await operations.begin((await recorded(adapter)).id)
    assert begun is not None
    assert not await older.again(begun)
    await operations.end(begun, OperationState.UNKNOWN)
    doubt = await get(adapter, begun.id)
    assert not await older.again(doubt)
    assert not await older.begin(doubt.id, resendable="receipt")
    after = await get(adapter, begun.id)
    assert (after.state, after.attempt) == (OperationState.UNKNOWN, 1)
    again = await operations.begin(doubt.id, resendable=[OperationKind.RECEIPT])
    assert again is not None
    assert again.attempt == 2
    assert again.idempotency_key == begun.idempotency_key


async def test_not_even_after_ours_has_put_it_back(adapter: Adapter, older: Older) -> None:
    operations = adapter.service.operations
    begun = await operations.begin((await recorded(adapter)).id)
    assert begun is not None
    assert await operations.again(begun)
    assert not await older.begin(begun.id)
    assert await operations.begin(begun.id) is not None


async def test_what_it_may_do_is_write_down_how_an_attempt_ended(adapter: Adapter, older: Older) -> None:
    operations = adapter.service.operations
    begun = await operations.begin((await recorded(adapter)).id)
    assert begun is not None
    assert await older.end(begun, "unknown")
    assert await older.end(begun, "held")


async def test_what_it_took_the_job_of_is_delivered_all_the_same(adapter: Adapter, older: Older) -> None:
    """Its job goes when it has done nothing; the housekeeping gives it a new one."""
    operation = await recorded(adapter)
    assert not await older.begin(operation.id)
    await adapter.sql("DELETE FROM koshelek.pgqueuer")
    await adapter.sql(
        "UPDATE koshelek.operations SET recorded_at = now() - interval '5 minutes' WHERE id = $1",
        operation.id,
    )
    gateway: Gateway = adapter.service.gateway
    assert (await PostgresUpkeep(gateway).restore_jobs(timedelta(minutes=1))).jobs == 1
    await adapter.service.start_delivery()
    async with asyncio.timeout(20):
        while (await get(adapter, operation.id)).state is not OperationState.DONE:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_what_it_recorded_keeps_its_reference_until_it_has_ended(
    adapter: Adapter, older: Older
) -> None:
    """Whichever program sends it: the CRM may know it by that one."""
    template = await recorded(adapter)
    identity = template.identity.replace(":", ":9", 1)
    request = await adapter.sql("SELECT request::text FROM koshelek.operations WHERE id = $1", template.id)
    operation_id = await older.record(template.card_number or "", identity, request)
    kept = former_key(OperationKind.RECEIPT, operation_id)
    assert (await get(adapter, operation_id)).idempotency_key == kept
    begun = await adapter.service.operations.begin(operation_id)
    assert begun is not None
    assert begun.idempotency_key == kept
    assert await adapter.service.operations.again(begun)
    assert await older.begin(operation_id), "it was its own"
    assert (await get(adapter, operation_id)).idempotency_key == kept
    # Sent once more by a caller to ours it is the same operation, and no second one.
    number = await adapter.sql(
        "SELECT count(*) FROM koshelek.operations WHERE identity = $1 AND live", identity
    )
    assert number == 1
