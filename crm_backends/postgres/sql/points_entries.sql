-- Movements of points, newest first.
-- Parameters: :account text, :limit bigint (rows), :today date.
-- Result: amount numeric (points, negative when spent), description text, at timestamptz;
--   optional: valid_until date (last day).
SELECT amount, description, created_at AS at, valid_until
FROM crm.points_ledger
WHERE customer_id = :account::bigint
ORDER BY created_at DESC, id DESC
LIMIT :limit
