-- Offers the holder can use now: the general ones, and those issued to the holder.
-- Parameters: :account text (as coupons_account gave it), :today date.
-- Result: reference (any type), title text; optional: description, code text,
--   valid_from, valid_until timestamptz, image_url, url text.
SELECT o.id AS reference, o.title, o.description, o.code, o.valid_from, o.valid_until, o.image_url, o.url
FROM crm.offers o
WHERE o.active
  AND (o.valid_from IS NULL OR o.valid_from <= now())
  AND (o.valid_until IS NULL OR o.valid_until > now())
  AND (o.occasion IS NULL
       OR EXISTS (SELECT FROM crm.customer_offers i
                  WHERE i.customer_id = :account::bigint AND i.offer_id = o.id))
ORDER BY o.valid_until NULLS LAST, o.id
