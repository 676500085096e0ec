-- Note which card a customer has got from the adapter, so that the till finds the customer by scanning it. The same
-- again changes nothing. A card that the customer has here already, other than the one replaced, stays: this may
-- come late. The number of another customer violates a unique index, which is reported as a conflict.
-- Parameters: :customer text (the id), :number text, :barcode text (what the till scans; often the number),
--   :barcode_type text ('EAN_8', 'EAN_13', 'CODE_128', 'UPC_A', 'QR_CODE'),
--   :replaces text (the number that this one takes the place of, or null),
--   :idempotency_key text (ours, the same on every attempt).
-- Result, one row: reference (any type); optional: outcome text ('done' or a refusal such as 'conflict').
--   No row means 'no_such_customer'.
WITH owner AS (
    UPDATE crm.customers SET card_number = :number
    WHERE id = :customer::bigint
      AND (card_number = :number
           OR ((card_number IS NULL OR card_number = :replaces)
               -- A number that is blocked or was replaced is given to nobody.
               AND NOT EXISTS (SELECT FROM crm.cards WHERE number = :number AND state <> 'active')))
    RETURNING id
), card AS (
    INSERT INTO crm.cards AS kept (number, barcode, barcode_type)
    SELECT :number, :barcode, :barcode_type FROM owner
    ON CONFLICT (number) DO UPDATE SET barcode = EXCLUDED.barcode, barcode_type = EXCLUDED.barcode_type
        WHERE (kept.barcode, kept.barcode_type) IS DISTINCT FROM (EXCLUDED.barcode, EXCLUDED.barcode_type)
)
SELECT id AS reference, 'done' AS outcome FROM owner
UNION ALL
SELECT id, 'conflict' FROM crm.customers
WHERE id = :customer::bigint AND NOT EXISTS (SELECT FROM owner)
