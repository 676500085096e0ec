-- The last row of the ledger has the balance; what was earned lately can be spent later.
SELECT last.balance AS total,
       greatest(last.balance - coalesce((SELECT sum(change) FROM shop.bonus
                                         WHERE client = :account::int AND change > 0 AND usable > localtimestamp), 0),
                0) AS available
FROM shop.bonus AS last WHERE last.client = :account::int ORDER BY last.id DESC LIMIT 1
