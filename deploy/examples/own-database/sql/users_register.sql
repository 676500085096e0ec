SELECT client AS reference, outcome
FROM shop.koshelek_register(:reference, :phone, :phone_national, :email, :first_name, :patronymic, :surname,
                            :birth_date, :sex, :locality)
