-- Create a customer; a phone that has one already gets that customer, unchanged.
-- An e-mail of another customer violates a unique index, which is reported as a conflict.
-- Parameters: :reference text (ours, the same on every attempt), :phone text (E.164 with plus, or null),
--   :email, :first_name, :patronymic, :surname text, :birth_date date, :sex text ('m', 'f'),
--   :country_code, :locality text; each null when not given.
-- Result, one row: reference (any type); optional: outcome text ('done' or a refusal such as 'conflict').
--   No row means 'conflict'.
WITH known AS (
    SELECT id FROM crm.customers WHERE phone = :phone
    UNION
    SELECT id FROM crm.customers WHERE reference = :reference
), created AS (
    INSERT INTO crm.customers (phone, email, first_name, patronymic, surname, birth_date, sex,
                               country_code, locality, reference)
    SELECT :phone, :email, :first_name, :patronymic, :surname, :birth_date, :sex,
           :country_code, :locality, :reference
    WHERE NOT EXISTS (SELECT FROM known)
    -- Somebody else registers the same phone at this moment: touch the row to get it back.
    ON CONFLICT (phone) DO UPDATE SET phone = EXCLUDED.phone
    RETURNING id
)
SELECT id AS reference FROM known
UNION ALL
SELECT id FROM created
LIMIT 1
