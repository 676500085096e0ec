-- One customer by the id that users_find or users_register gave.
-- Parameters: :customer text (the id).
-- Result, no row or one: the columns of users_find.
SELECT id AS reference, phone, email, first_name, patronymic, surname, birth_date, sex,
       country_code, locality, card_number, registered_at,
       CASE WHEN card_number IS NOT NULL
            THEN coalesce((SELECT state FROM crm.cards WHERE number = card_number), 'active') END AS card_state
FROM crm.customers
WHERE id = :customer::bigint
