SELECT outcome, points, message FROM shop.koshelek_redeem(:account::int, :code, :reference, :today)
