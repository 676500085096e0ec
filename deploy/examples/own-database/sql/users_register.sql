SELECT client AS reference, outcome
FROM shop.koshelek_register(:idempotency_key, :phone, :phone_national, :email, :first_name, :patronymic, :surname,
                            :birth_date, :sex, :locality)
