-- Plastic in the box is known as well: so its number is given to nobody by the adapter.
SELECT CASE card.state WHEN 'A' THEN 'active' WHEN 'B' THEN 'blocked' ELSE 'replaced' END AS state,
       card.next AS replaced_by, c.id AS reference, c.phone
FROM shop.card AS card
LEFT JOIN shop.client AS c ON c.id = card.client AND NOT c.deleted
WHERE card.number = :number
