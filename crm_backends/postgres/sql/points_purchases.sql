-- Purchase lines of whole days, newest first.
-- Parameters: :account text; :since date and :until date (both included, days in the programme's time zone);
--   the same span as moments: :since_at timestamptz (included), :until_at timestamptz (not included).
-- Result: at timestamptz, item text, amount_kopecks bigint;
--   optional: quantity numeric (else 1), location text, bonuses numeric (points, else 0).
SELECT at, item, amount_kopecks, quantity, location, bonuses
FROM crm.purchases
WHERE customer_id = :account::bigint AND at >= :since_at AND at < :until_at
ORDER BY at DESC, id DESC
