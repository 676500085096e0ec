-- :points is what the adapter has computed by receipts.rate. With receipts.points_by = "crm" it is null, and the rule
-- is the one here: a hundredth of the total, in whole points.
SELECT credited AS points, outcome
FROM shop.koshelek_credit(:account::int, :idempotency_key, coalesce(:points, floor(:total_kopecks / 10000.0)), :description)
