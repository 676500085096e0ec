-- The demo's people, points, purchases, offers and promo codes. Safe to run again: what is there stays.
-- Everybody is invented; +7900000000x is never given out.
INSERT INTO crm.customers
       (phone, email, first_name, patronymic, surname, birth_date, sex, country_code, locality)
VALUES ('+79000000001', 'anna@example.com',  'Анна',  'Петровна',  'Демо',  '1990-05-17', 'f', 'RU', 'Москва'),
       ('+79000000002', 'boris@example.com', 'Борис', NULL,        'Демо',  '1985-11-02', 'm', 'RU', 'Казань'),
       ('+79000000004', 'vera@example.com',  'Вера',  'Ильинична', 'Демо',  '2001-01-30', 'f', 'RU', 'Томск')
ON CONFLICT DO NOTHING;

INSERT INTO crm.points_ledger (customer_id, amount, remaining, description, reference, valid_until, available_from)
SELECT c.id, lot.points, lot.points, lot.description, 'demo-' || lot.name, lot.valid_until, lot.available_from
  FROM crm.customers c,
       (VALUES ('welcome',  500::numeric, 'Приветственные баллы', NULL::date,         now()),
               ('birthday', 200,          'Ко дню рождения',      current_date + 14,  now()),
               ('recent',    62,          'Покупка 1 250,00 ₽',   current_date + 365, now() + interval '14 days'))
       AS lot (name, points, description, valid_until, available_from)
 WHERE c.phone = '+79000000001'
ON CONFLICT (reference) DO NOTHING;

INSERT INTO crm.purchases (customer_id, at, item, amount_kopecks, quantity, location, bonuses)
SELECT c.id, now() - line.ago, line.item, line.kopecks, line.quantity, 'Москва, Тверская, 1', line.bonuses
  FROM crm.customers c,
       (VALUES (interval '2 days',  'Кофе в зёрнах, 1 кг', 105000, 1,     52),
               (interval '2 days',  'Сыр российский',       20000, 0.350, 10),
               (interval '40 days', 'Чайник электрический', 349900, 1,     174))
       AS line (ago, item, kopecks, quantity, bonuses)
 WHERE c.phone = '+79000000001'
   AND NOT EXISTS (SELECT FROM crm.purchases p WHERE p.customer_id = c.id);

INSERT INTO crm.offers (title, description, code, valid_until)
SELECT 'Кофе за полцены', 'Второй кофе за полцены до конца месяца', 'COFFEE50', now() + interval '30 days'
 WHERE NOT EXISTS (SELECT FROM crm.offers);

INSERT INTO crm.promo_codes (code, points, message, valid_from, valid_until, max_uses, uses)
VALUES ('WELCOME', 100, 'Добро пожаловать! Начислено 100 баллов', NULL, NULL, NULL, 0),
       ('SINGLE',   50, NULL, NULL, NULL, 1, 0),
       ('EXPIRED',  50, NULL, NULL, now() - interval '1 day', NULL, 0),
       ('SOON',     50, NULL, now() + interval '3650 days', NULL, NULL, 0),
       ('GONE',     50, NULL, NULL, NULL, 10, 10)
ON CONFLICT DO NOTHING;
