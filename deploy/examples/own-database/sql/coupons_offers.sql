SELECT a.id AS reference, a.title, a.body AS description, a.first_day AS valid_from, a.last_day + 1 AS valid_until
FROM shop.action AS a JOIN shop.client AS c ON c.id = :account::int
WHERE (a.first_day IS NULL OR a.first_day <= :today) AND (a.last_day IS NULL OR a.last_day >= :today)
  AND (a.status IS NULL OR a.status = c.status)
ORDER BY a.last_day NULLS LAST, a.id
