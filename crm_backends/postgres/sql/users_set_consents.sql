-- Write which channels a customer allows and denies; a channel in neither list stays as it was.
-- Parameters: :customer text (the id), :allow text[], :deny text[] ('sms', 'email', 'call', 'push').
-- Result, one row: reference (any type); optional: outcome text. No row means 'no_such_customer'.
WITH given AS (
    SELECT unnest(:deny) AS channel, false AS allowed
    UNION ALL
    SELECT channel, true FROM unnest(:allow) AS channel WHERE channel <> ALL (:deny)
), written AS (
    INSERT INTO crm.consents AS kept (customer_id, channel, allowed)
    SELECT id, channel, allowed FROM crm.customers CROSS JOIN given WHERE id = :customer::bigint
    ON CONFLICT (customer_id, channel) DO UPDATE SET allowed = EXCLUDED.allowed, changed_at = now()
        WHERE kept.allowed <> EXCLUDED.allowed
)
SELECT id AS reference FROM crm.customers WHERE id = :customer::bigint
