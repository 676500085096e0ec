-- The list of all users, read through a server-side cursor; which users are in it is your choice.
-- Parameters: none.
-- Result, any number of rows: phone text (E.164 with plus);
--   every further column becomes a named value of the extended list, as text.
SELECT phone FROM crm.customers WHERE phone IS NOT NULL ORDER BY id
