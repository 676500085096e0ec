SELECT outcome, points, message FROM shop.koshelek_redeem(:account::int, :code, :idempotency_key, :today)
