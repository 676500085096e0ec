-- The phone is compared in one form on both sides, each by an index; the card is the newest the customer holds.
WITH found AS (
    SELECT id FROM shop.client WHERE shop.last_ten(phone) = :phone_national AND NOT deleted
    UNION
    SELECT id FROM shop.client WHERE lower(email) = lower(:email) AND NOT deleted
)
SELECT c.id AS reference, c.phone, c.email, c.first_name, c.middle_name AS patronymic, c.last_name AS surname,
       c.born AS birth_date, CASE c.gender WHEN 'М' THEN 'm' WHEN 'Ж' THEN 'f' END AS sex, c.city AS locality,
       c.created AS registered_at, card.number AS card_number, card.state AS card_state
FROM found
JOIN shop.client AS c USING (id)
LEFT JOIN LATERAL (
    SELECT number, CASE state WHEN 'A' THEN 'active' WHEN 'B' THEN 'blocked' ELSE 'replaced' END AS state
    FROM shop.card WHERE client = c.id AND next IS NULL ORDER BY given DESC NULLS LAST LIMIT 1
) AS card ON true
