UPDATE shop.client
SET phone = coalesce(:phone, phone),
    email = coalesce(:email, email),
    first_name = coalesce(:first_name, first_name),
    middle_name = coalesce(:patronymic, middle_name),
    last_name = coalesce(:surname, last_name),
    born = coalesce(:birth_date, born),
    gender = coalesce(CASE :sex WHEN 'm' THEN 'М' WHEN 'f' THEN 'Ж' END, gender),
    city = coalesce(:locality, city)
WHERE id = :customer::int AND NOT deleted
RETURNING id AS reference
