-- Set the given fields of a customer; a null parameter leaves its field as it is.
-- A phone or e-mail of another customer violates a unique index, which is reported as a conflict.
-- Parameters: :customer text (the id), :phone text (E.164 with plus), :email, :first_name, :patronymic,
--   :surname text, :birth_date date, :sex text ('m', 'f'), :country_code, :locality text.
--   :phone_digits, :phone_national text (the phone's digits; those after the country code).
-- Result, one row: reference (any type); optional: outcome text. No row means 'no_such_customer'.
UPDATE crm.customers
SET phone = coalesce(:phone, phone),
    email = coalesce(:email, email),
    first_name = coalesce(:first_name, first_name),
    patronymic = coalesce(:patronymic, patronymic),
    surname = coalesce(:surname, surname),
    birth_date = coalesce(:birth_date, birth_date),
    sex = coalesce(:sex, sex),
    country_code = coalesce(:country_code, country_code),
    locality = coalesce(:locality, locality)
WHERE id = :customer::bigint
RETURNING id AS reference
