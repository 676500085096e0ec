-- Under which id this CRM keeps the coupons of a card's owner. The owner was found in another CRM, or by
-- SQL that is not ours (else nobody asks), so the id there (:users_reference) means nothing here: phone
-- decides, e-mail where there is none.
-- Parameters: :card_number text, :users_reference text, :phone text (E.164 with plus, or null),
--   :email text (or null).
--   :phone_digits, :phone_national text (the phone's digits; those after the country code).
-- Result, no row or one: account (any type).
SELECT id AS account FROM crm.customers WHERE phone = :phone
UNION ALL
SELECT id FROM crm.customers WHERE :phone IS NULL AND lower(email) = lower(:email)
