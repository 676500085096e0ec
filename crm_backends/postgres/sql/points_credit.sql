-- Put points on an account, and the line of the receipt into the purchases, both or neither, once per key.
-- Parameters: :account text, :idempotency_key text (ours, the same on every attempt),
--   :points numeric (or null: the CRM's own rule), :description text, :today date;
--   the receipt, all null without one: :fiscal_drive, :fiscal_document, :fiscal_sign text,
--   :total_kopecks bigint, :issued_at timestamptz,
--   :calculation_type integer (1 sale, 2 return of a sale, 3 expense, 4 return of an expense).
-- Result, one row: points numeric (as credited, also when this key came before);
--   optional: reference (the CRM's name for it), message text (for the holder), outcome text ('done' or a refusal;
--   'key_taken': the key is known with another account, amount or total; nothing was written).
--   No row means 'no_such_customer'.
WITH asked AS (
    -- Nothing but the parameters: the adapter puts several credits here at once.
    SELECT :account AS account, :idempotency_key AS idempotency_key, :points AS points,
           :description AS description, :today AS today, :total_kopecks AS total_kopecks,
           :calculation_type AS calculation_type, :issued_at AS issued_at, :fiscal_drive AS fiscal_drive,
           :fiscal_document AS fiscal_document, :fiscal_sign AS fiscal_sign
), lot AS (
    INSERT INTO crm.points_ledger
        (customer_id, amount, remaining, description, reference, valid_until, total_kopecks)
    SELECT customer.id, earned.points, earned.points, description, idempotency_key,
           crm.last_day_of_new_points(today), total_kopecks
    FROM asked
    JOIN crm.customers AS customer ON customer.id = account::bigint
    CROSS JOIN LATERAL (
        SELECT coalesce(asked.points, crm.points_for_receipt(total_kopecks, calculation_type)) AS points
    ) AS earned
    -- Touch the row that has the key already to get it back; DO NOTHING would return no row.
    ON CONFLICT (reference) DO UPDATE SET reference = EXCLUDED.reference
    RETURNING id, customer_id, amount, reference, total_kopecks, xmax = 0 AS is_new
), compared AS (
    -- What is there is believed only if it is what was asked for. A row of points spent has a negative amount,
    -- which none that is asked for equals. By the CRM's own rule there is no amount to compare, but the total.
    SELECT lot.id, amount, is_new, asked.*, is_new OR (
        customer_id = account::bigint AND amount >= 0
        AND amount = coalesce(round(points, 2), amount)
        AND (lot.total_kopecks = asked.total_kopecks) IS NOT FALSE
    ) AS is_ours
    FROM lot
    JOIN asked ON asked.idempotency_key = lot.reference
), line AS (
    INSERT INTO crm.purchases (customer_id, at, item, amount_kopecks, bonuses,
                               fiscal_drive, fiscal_document, fiscal_sign)
    SELECT account::bigint, issued_at, description,
           CASE calculation_type WHEN 2 THEN -total_kopecks ELSE total_kopecks END, amount,
           fiscal_drive, fiscal_document, fiscal_sign
    FROM compared
    WHERE is_new AND calculation_type IN (1, 2)
      -- The till may have written this receipt already, item by item.
      AND NOT EXISTS (SELECT FROM crm.purchases AS known
                      WHERE known.fiscal_drive = compared.fiscal_drive
                        AND known.fiscal_document = compared.fiscal_document
                        AND known.fiscal_sign = compared.fiscal_sign)
)
SELECT CASE WHEN is_ours THEN amount END AS points,
       CASE WHEN is_ours THEN id END AS reference,
       CASE WHEN is_ours THEN 'done' ELSE 'key_taken' END AS outcome
FROM compared
