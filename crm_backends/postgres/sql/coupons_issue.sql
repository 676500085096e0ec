-- Give the holder all offers of an occasion, once per key. An occasion without offers gives nothing.
-- Parameters: :account text, :occasion text, :idempotency_key text (ours, the same on every attempt), :today date.
-- Result, one row: reference (any type; the issued coupons, or null);
--   optional: message text (for the holder), outcome text ('done' or a refusal; 'key_taken': the key
--   is known with another customer, nothing was given). No row means 'no_such_customer'.
SELECT outcome, coupons AS reference
FROM crm.issue_offers(:account::bigint, :occasion, :idempotency_key)
