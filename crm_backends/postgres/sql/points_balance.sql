-- The balance of an account.
-- Parameters: :account text (as points_account gave it), :today date (in the programme's time zone).
-- Result, one row: total numeric (points, expired ones left out), available numeric (points to spend now).
SELECT coalesce(sum(remaining), 0) AS total,
       coalesce(sum(remaining) FILTER (WHERE available_from <= now()), 0) AS available
FROM crm.points_ledger
WHERE customer_id = :account::bigint AND remaining > 0 AND (valid_until IS NULL OR valid_until >= :today)
