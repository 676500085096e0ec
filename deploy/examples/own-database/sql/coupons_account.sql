SELECT id AS account FROM shop.client WHERE id = :users_reference::int AND NOT deleted
