SET timezone = 'Europe/Moscow';  -- this session may have begun before the database had it

-- A few invented customers to try with; their phones are of a range that is never given out.
INSERT INTO shop.client (last_name, first_name, middle_name, phone, email, born, gender, city, sms, status) VALUES
    ('Иванова', 'Анна', 'Петровна', '8 (900) 000-00-01', 'Anna@example.com', '1990-05-17', 'Ж', 'Москва', true, 'gold'),
    ('Петров', 'Борис', '', '+7 900 0000002', NULL, NULL, 'М', NULL, NULL, 'base'),
    ('Сидорова', 'Вера', 'Ильинична', '9000000003', 'vera@example.com', '1985-11-02', 'Ж', 'Тула', false, 'base'),
    ('', '', '', 'нет', NULL, NULL, NULL, NULL, NULL, 'base');
INSERT INTO shop.client (last_name, first_name, phone, deleted) VALUES ('Старый', 'Глеб', '89000000001', true);

INSERT INTO shop.card (number, client, state, given) VALUES
    ('2900000010017', 1, 'R', '2019-03-01'), ('2900000010024', 1, 'A', '2024-02-10'),
    ('2900000010031', 2, 'B', '2020-06-01'), ('2900000010048', NULL, 'A', NULL), ('2900000010055', NULL, 'A', NULL);
UPDATE shop.card SET next = '2900000010024' WHERE number = '2900000010017';

INSERT INTO shop.bonus (client, change, balance, reason, at) VALUES
    (1, 500, 500, 'Приветственные баллы', '2025-01-15 12:00'), (1, -120, 380, 'Оплата чека 17', '2025-03-08 18:30'),
    (3, 40, 40, 'День рождения', '2025-11-02 09:00');
INSERT INTO shop.sale (client, place, at) VALUES (1, 'Тверская, 1', now() - interval '3 days');
INSERT INTO shop.sale_line VALUES (1, 'Чай чёрный', 2, 380.00), (1, 'Сахар', 1, 95.50);

INSERT INTO shop.promo VALUES
    ('WELCOME', 100, 'Спасибо, что вы с нами!', NULL, NULL, NULL, 1), ('ONCE', 50, NULL, NULL, NULL, 1, 1),
    ('OLD', 10, NULL, NULL, '2025-01-31', NULL, 1);
INSERT INTO shop.action (title, body, last_day, status) VALUES
    ('Чай со скидкой', 'До конца месяца', NULL, NULL), ('Для золотых', 'Двойные баллы', NULL, 'gold');
