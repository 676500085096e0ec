-- One customer by the reference that users_find or users_register gave.
-- Parameters: :customer text (the reference).
-- Result, no row or one: the columns of users_find.
SELECT id AS reference, phone, email, first_name, patronymic, surname, birth_date, sex,
       country_code, locality, card_number, registered_at
FROM crm.customers
WHERE id = :customer::bigint
