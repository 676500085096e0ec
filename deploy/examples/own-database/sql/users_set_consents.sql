-- A channel in neither list stays as it was; push is nothing this shop has.
UPDATE shop.client
SET sms = CASE WHEN 'sms' = ANY (:deny) THEN false WHEN 'sms' = ANY (:allow) THEN true ELSE sms END,
    mail = CASE WHEN 'email' = ANY (:deny) THEN false WHEN 'email' = ANY (:allow) THEN true ELSE mail END,
    call = CASE WHEN 'call' = ANY (:deny) THEN false WHEN 'call' = ANY (:allow) THEN true ELSE call END
WHERE id = :customer::int AND NOT deleted
RETURNING id AS reference
