-- Use a promo code for the holder, once per key.
-- Parameters: :account text, :code text (as typed), :idempotency_key text (ours, the same on every attempt), :today date.
-- Result, one row: outcome text: 'done', or why not: 'code_unknown', 'code_not_yet_valid', 'code_expired',
--   'code_used', 'code_exhausted', 'no_such_customer', 'other', 'key_taken' (the key is known with
--   another customer or another code; nothing was done);
--   optional: points numeric (as credited), message text (for the holder), reference (any type).
--   No row means 'code_unknown'.
SELECT outcome, points, message
FROM crm.redeem_code(:account::bigint, :code, :idempotency_key, :today)
