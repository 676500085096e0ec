-- Where the CRM reckons (:points is null): a hundredth of the total, in whole points.
SELECT credited AS points, outcome
FROM shop.koshelek_credit(:account::int, :idempotency_key, coalesce(:points, floor(:total_kopecks / 10000.0)), :description)
