SELECT change AS amount, reason AS description, at
FROM shop.bonus WHERE client = :account::int ORDER BY at DESC, id DESC LIMIT :limit
