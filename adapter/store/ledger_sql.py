"""The statements of the operations ledger. They may not know who runs them, nor what follows.

Whatever moves an operation names the attempt it belongs to, or the state it comes from: of two processes that
do the same, the second moves nothing.
"""

from __future__ import annotations

from adapter.store.queue import jobs_for

COLUMNS = (
    "id, kind, identity, card_number, fingerprint, request, state, attempt, recorded_at, sent_at, "
    "finished_at, code, points, crm_reference, message, before, requeued_at, doubted, "
    "reference AS idempotency_key, looked_at, answering_since"
)
"""The column ``reference`` keeps its name: programs of versions before read it beside ours."""

RECORD = f"""
    WITH new AS (
        INSERT INTO koshelek.operations (kind, identity, card_number, fingerprint, request, reference,
                                         state, attempt, begun, sent_at)
        -- One JSON text: arrays take asyncpg several times as long.
        SELECT kind, identity, card_number, fingerprint, request, idempotency_key,
               CASE WHEN sent THEN 'sent' ELSE 'recorded' END, sent::int,
               CASE WHEN sent THEN 1 END, CASE WHEN sent THEN now() END
          FROM jsonb_to_recordset($1::jsonb)
            AS given (kind text, identity text, card_number text, fingerprint text, request jsonb,
                      idempotency_key text, sent boolean)
        ON CONFLICT (kind, identity) WHERE live DO NOTHING
        RETURNING kind, identity, id, recorded_at, state
    ),
    {jobs_for("new")}
    SELECT kind, identity, new.id, recorded_at, job.id AS job_id
      FROM new JOIN job ON job.payload = convert_to(new.id::text, 'UTF8')
"""  # noqa: S608

LIVE_BY_IDENTITY = f"""
    SELECT {COLUMNS}, now() AS read_at FROM koshelek.operations
     WHERE live AND (kind, identity) IN (SELECT * FROM unnest($1::text[], $2::text[]))
"""  # noqa: S608

# An array in a SELECT of its own: the planner is not to know how long it is, or it would make a new plan for
# each short one.
BY_IDS = f"""
    SELECT {COLUMNS}, now() AS read_at FROM koshelek.operations
     WHERE id = ANY((SELECT $1::bigint[])::bigint[])
"""  # noqa: S608

# At most looks nearly all that are waited for are still under way.
ENDED_BY_IDS = f"{BY_IDS} AND state IN ('done', 'refused', 'held', 'doubled')"

QUALIFIED = ", ".join(f"operation.{column}" for column in COLUMNS.split(", "))

# Rows are to be found by their ids. With statistics from before a burst the planner would rather read all
# that are open, by the index of those, for every batch; of a CASE it cannot tell that the index would do.
BEGIN = f"""
    UPDATE koshelek.operations AS operation
       SET state = 'sent', attempt = attempt + 1, begun = attempt + 1, sent_at = now(),
           before = begun.balance, looked_at = NULL, answering_since = NULL,
           -- It told of the attempt before, whose event keeps it.
           detail = NULL
      FROM unnest((SELECT $1::bigint[]), (SELECT $2::jsonb[]), (SELECT $3::text[]))
           AS begun (operation_id, balance, resendable)
     WHERE operation.id = begun.operation_id AND operation.id = ANY((SELECT $1::bigint[])::bigint[])
       AND CASE state WHEN 'recorded' THEN true
                      WHEN 'unknown' THEN kind = ANY(string_to_array(begun.resendable, ','))
                      ELSE false END
       -- What is to be compared needs its account for itself, also if we slept since the lease was taken.
       AND (begun.balance IS NULL OR EXISTS (
               SELECT FROM koshelek.account_leases AS lease
                WHERE lease.operation_id = operation.id AND lease.until > now()
           ))
    RETURNING {QUALIFIED}, now() AS read_at
"""  # noqa: S608

END = """
    UPDATE koshelek.operations AS operation
       SET state = ended.state, code = ended.code, points = ended.points,
           crm_reference = ended.crm_reference, message = ended.message, reason = ended.reason,
           detail = CASE WHEN ended.state <> 'done' THEN coalesce(ended.detail, operation.detail) END,
           finished_at = CASE WHEN ended.state IN ('done', 'refused') THEN now() END,
           -- A registration needs no personal data once it is over.
           request = CASE WHEN kind = 'registration' AND ended.state IN ('done', 'refused')
                          THEN '{}' ELSE request END,
           -- A promo code or a person may come again; a receipt is refused for good, unless the CRM does not
           -- know its customer yet, and then only if no attempt of it can have got there, or the CRM would
           -- know it again by its key.
           live = ended.state <> 'refused'
               OR (kind = 'receipt'
                   AND NOT (ended.nobody AND (ended.known_by_key OR NOT operation.doubted)))
      FROM jsonb_to_recordset($1::jsonb)
           AS ended (operation_id bigint, attempt int, state text, code text, points numeric,
                     crm_reference text, message text, reason text, nobody boolean,
                     known_by_key boolean, detail text)
     WHERE operation.id = ended.operation_id AND operation.id = ANY((SELECT $2::bigint[])::bigint[])
       AND operation.attempt = ended.attempt
       AND CASE operation.state WHEN 'sent' THEN true
                                WHEN 'unknown' THEN true
                                -- What nobody has begun since may be held without being sent.
                                WHEN 'recorded' THEN ended.state = 'held'
                                ELSE false END
    RETURNING operation.id, operation.attempt, operation.finished_at, operation.doubted, now() AS read_at
"""

LOOKED = f"""
    UPDATE koshelek.operations AS operation
       SET looked_at = now(), detail = coalesce($5, detail),
           answering_since = CASE WHEN $3 AND $4 THEN coalesce(answering_since, now()) WHEN $3 THEN now() END
     WHERE id = $1 AND attempt = $2 AND state = 'unknown'
    RETURNING {QUALIFIED}, now() AS read_at
"""  # noqa: S608

DROP_LEASE = """
    DELETE FROM koshelek.account_leases AS lease
     WHERE operation_id = $1 AND NOT EXISTS (
               SELECT FROM koshelek.operations AS operation
                WHERE operation.id = lease.operation_id AND operation.state IN ('sent', 'unknown')
           )
"""
KEEP_LEASE = """
    UPDATE koshelek.account_leases AS lease SET until = now() + $2::interval
     WHERE operation_id = $1 AND NOT EXISTS (
               SELECT FROM koshelek.operations AS operation
                WHERE operation.id = lease.operation_id AND operation.state IN ('sent', 'unknown')
           )
"""

# The last few hundred operations tell enough, and are found by their ids.
_LATEST = "(SELECT * FROM koshelek.operations ORDER BY id DESC LIMIT 500) AS latest"
CONTROL_OPERATION = f"""
    SELECT {COLUMNS}, now() AS read_at FROM {_LATEST}
     WHERE kind = $1 AND state = 'done' AND NOT doubted AND request <> '{{}}'
       AND finished_at < now() - $2::interval
     ORDER BY finished_at DESC LIMIT 1
"""  # noqa: S608
WRITTEN_SINCE = f"""
    SELECT EXISTS (SELECT FROM {_LATEST}
                    WHERE kind = $1 AND state IN ('done', 'refused') AND NOT doubted AND sent_at > $2)
"""  # noqa: S608
LEASE = """
    INSERT INTO koshelek.account_leases AS lease (account, operation_id, until)
    VALUES ($1, $2, now() + $3::interval)
    ON CONFLICT (account) DO UPDATE
       SET operation_id = EXCLUDED.operation_id, until = EXCLUDED.until
     WHERE lease.operation_id = EXCLUDED.operation_id
        OR ((lease.until < now() OR lease.until > now() + $4::interval) AND NOT EXISTS (
               SELECT FROM koshelek.operations AS holder
                WHERE holder.id = lease.operation_id AND holder.state IN ('sent', 'unknown')
            ))
    RETURNING operation_id
"""
AGAIN = """
    UPDATE koshelek.operations
       SET state = 'recorded', begun = NULL, detail = coalesce($3, detail)
     WHERE id = $1 AND attempt = $2 AND state IN ('sent', 'unknown')
"""
FOUND_TWICE = """
    UPDATE koshelek.operations
       SET state = 'doubled', reason = $2, crm_reference = $3, finished_at = NULL
     WHERE id = $1 AND state = 'done'
"""
RETIRE = "UPDATE koshelek.operations SET live = false WHERE id = $1 AND live AND state = 'done'"
EXPLAIN = "UPDATE koshelek.operations SET detail = $2 WHERE id = $1 AND state = 'recorded'"
