-- Every further column becomes a named value of the extended list.
SELECT phone, status FROM shop.client WHERE NOT deleted AND phone IS NOT NULL ORDER BY id
