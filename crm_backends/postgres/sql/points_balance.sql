-- The balance of an account.
-- Parameters: :account text (as points_account gave it), :today date (in the programme's time zone).
-- Result, one row: total numeric (points, expired ones left out), available numeric (points to spend now).
-- No row: there is no such account, which is not the same as an account with nothing on it.
SELECT coalesce(sum(lot.remaining), 0) AS total,
       coalesce(sum(lot.remaining) FILTER (WHERE lot.available_from <= now()), 0) AS available
FROM crm.customers AS customer
LEFT JOIN crm.points_ledger AS lot
       ON lot.customer_id = customer.id
      AND lot.remaining > 0 AND (lot.valid_until IS NULL OR lot.valid_until >= :today)
WHERE customer.id = :account::bigint
GROUP BY customer.id
