-- What this CRM knows of a card number: plastic without an owner too, and numbers that are no longer good.
-- Parameters: :number text (as it was typed or scanned; it may be nobody's).
-- Result, no row or one: state text ('active', 'inactive', 'blocked', 'replaced'),
--   reference (any type, of the owner; null: nobody's), phone text (of the owner, or null);
--   optional: replaced_by text (the number in its place), barcode text (what is printed on the card, where that
--   is not the number), barcode_type text ('EAN_8', 'EAN_13', 'CODE_128', 'UPC_A', 'QR_CODE'),
--   of the owner also the columns of users_find, such as card_number text (the card they have now).
SELECT coalesce(card.state, 'active') AS state, card.replaced_by, card.barcode, card.barcode_type,
       owner.id AS reference, owner.phone, owner.card_number
FROM (SELECT :number AS number) AS asked
LEFT JOIN crm.cards AS card ON card.number = asked.number
LEFT JOIN crm.customers AS owner ON owner.card_number = asked.number
WHERE card.number IS NOT NULL OR owner.id IS NOT NULL
