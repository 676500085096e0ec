-- Customers whose phone OR e-mail matches: two index look-ups, never a scan. The hottest statement of all.
-- Parameters: :phone text (E.164 with plus, or null), :email text (or null; compare without regard to case),
--   :birth_date date (or null; never identifies alone, not used here).
--   :phone_digits, :phone_national text (the phone's digits; those after the country code).
-- Result, any number of rows: reference (any type), phone text;
--   optional: email, first_name, patronymic, surname text, birth_date date, sex text ('m', 'f'),
--   country_code, locality, card_number text, registered_at timestamptz,
--   card_state text (of that card: 'active', 'inactive', 'blocked').
SELECT id AS reference, phone, email, first_name, patronymic, surname, birth_date, sex,
       country_code, locality, card_number, registered_at,
       CASE WHEN card_number IS NOT NULL
            THEN coalesce((SELECT state FROM crm.cards WHERE number = card_number), 'active') END AS card_state
FROM crm.customers
WHERE phone = :phone
UNION ALL
SELECT id, phone, email, first_name, patronymic, surname, birth_date, sex,
       country_code, locality, card_number, registered_at,
       CASE WHEN card_number IS NOT NULL
            THEN coalesce((SELECT state FROM crm.cards WHERE number = card_number), 'active') END
FROM crm.customers
WHERE lower(email) = lower(:email) AND (phone = :phone) IS NOT TRUE
