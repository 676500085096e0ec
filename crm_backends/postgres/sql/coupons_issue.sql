-- Give the holder all offers of an occasion, once per reference. An occasion without offers gives nothing.
-- Parameters: :account text, :occasion text, :reference text (ours, the same on every attempt), :today date.
-- Result, one row: reference (any type; the issued coupons, or null);
--   optional: message text (for the holder), outcome text. No row means 'no_such_customer'.
WITH earlier AS (
    SELECT id FROM crm.customer_offers
    WHERE reference = :reference AND customer_id = :account::bigint
), issued AS (
    INSERT INTO crm.customer_offers (customer_id, offer_id, reference)
    SELECT c.id, o.id, :reference
    FROM crm.customers c
    JOIN crm.offers o ON o.occasion = :occasion AND o.active
                     AND (o.valid_from IS NULL OR o.valid_from <= now())
                     AND (o.valid_until IS NULL OR o.valid_until > now())
    WHERE c.id = :account::bigint AND NOT EXISTS (SELECT FROM earlier)
    ORDER BY o.id
    -- The same reference is under way on another connection: touch the row to get it back.
    ON CONFLICT (reference, offer_id) DO UPDATE SET reference = EXCLUDED.reference
    RETURNING id
)
SELECT (SELECT string_agg(id::text, ',' ORDER BY id)
        FROM (SELECT id FROM earlier UNION ALL SELECT id FROM issued) AS coupons) AS reference
FROM crm.customers
WHERE id = :account::bigint
