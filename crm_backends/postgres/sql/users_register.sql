-- Create a customer; a phone that has one already gets that customer, unchanged.
-- A customer known by the key is given only if it is who was asked for: by phone, or by e-mail where no
-- phone was given. An e-mail of another customer violates a unique index, which is reported as a conflict.
-- Parameters: :idempotency_key text (ours, the same on every attempt), :phone text (E.164 with plus, or null),
--   :email, :first_name, :patronymic, :surname text, :birth_date date, :sex text ('m', 'f'),
--   :country_code, :locality text; each null when not given.
--   :phone_digits, :phone_national text (the phone's digits; those after the country code).
-- Result, one row: reference (any type); optional: outcome text ('done', or a refusal such as 'conflict';
--   'key_taken': the key is known with another person). No row means 'conflict'.
WITH same_phone AS (
    SELECT id FROM crm.customers WHERE phone = :phone
), known AS (
    SELECT id, 'done' AS outcome FROM same_phone
    UNION ALL
    SELECT CASE WHEN is_ours THEN id END, CASE WHEN is_ours THEN 'done' ELSE 'key_taken' END
    FROM (
        SELECT id, :phone IS NULL AND lower(email) IS NOT DISTINCT FROM lower(:email) AS is_ours
        FROM crm.customers
        WHERE reference = :idempotency_key AND NOT EXISTS (SELECT FROM same_phone)
    ) AS same_reference
), created AS (
    INSERT INTO crm.customers (phone, email, first_name, patronymic, surname, birth_date, sex,
                               country_code, locality, reference)
    SELECT :phone, :email, :first_name, :patronymic, :surname, :birth_date, :sex,
           :country_code, :locality, :idempotency_key
    WHERE NOT EXISTS (SELECT FROM known)
    -- Somebody else registers the same phone at this moment: touch the row to get it back.
    ON CONFLICT (phone) DO UPDATE SET phone = EXCLUDED.phone
    RETURNING id
)
SELECT id AS reference, outcome FROM known
UNION ALL
SELECT id, 'done' FROM created
