-- Times here have no zone, so whole days are compared with days. Roubles become kopecks.
SELECT sale.at, line.name AS item, (line.sum * 100)::bigint AS amount_kopecks, line.count AS quantity,
       sale.place AS location
FROM shop.sale AS sale JOIN shop.sale_line AS line ON line.sale = sale.id
WHERE sale.client = :account::int AND sale.at >= :since AND sale.at < :until + 1
ORDER BY sale.at DESC
