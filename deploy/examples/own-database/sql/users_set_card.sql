-- The till finds a customer by scanning the number. A card that the customer got meanwhile stays.
WITH owner AS (
    SELECT id FROM shop.client WHERE id = :customer::int AND NOT deleted FOR UPDATE
), other AS (
    SELECT number FROM shop.card
    WHERE client = (SELECT id FROM owner) AND next IS NULL AND number NOT IN (:number, coalesce(:replaces, ''))
), kept AS (
    INSERT INTO shop.card AS card (number, client, given)
    SELECT :number, id, now() FROM owner WHERE NOT EXISTS (SELECT FROM other)
    ON CONFLICT (number) DO UPDATE SET client = EXCLUDED.client, given = coalesce(card.given, EXCLUDED.given)
        WHERE card.client IS NULL OR card.client = EXCLUDED.client
    RETURNING number
), replaced AS (
    UPDATE shop.card SET state = 'R', next = :number
    WHERE number = :replaces AND client = (SELECT id FROM owner) AND EXISTS (SELECT FROM kept)
)
SELECT id AS reference, CASE WHEN EXISTS (SELECT FROM kept) THEN 'done' ELSE 'conflict' END AS outcome FROM owner
