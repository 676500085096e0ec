-- Users and points are in one database: the id tells exactly whose account it is.
SELECT id AS account FROM shop.client WHERE id = :users_reference::int AND NOT deleted
