-- What the shop's database gets besides, once, by its owner: three columns, each unique, two more indexes, four
-- functions, and a role. Nothing that is there changes its meaning; the till goes on as before. All of it or nothing:
-- what breaks it off leaves no trace. Run it with the shop's owner:  psql -v ON_ERROR_STOP=1 -f additions.sql shop
BEGIN;

-- 1. Phones in one form. Ten digits after the country code tell two ways of writing one number from two numbers.
CREATE FUNCTION shop.last_ten(phone text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT right(regexp_replace(phone, '\D', '', 'g'), 10) $$;
CREATE INDEX client_last_ten ON shop.client (shop.last_ten(phone)) WHERE NOT deleted;
CREATE INDEX client_email ON shop.client (lower(email)) WHERE NOT deleted;

-- 2. Where the adapter's keys are kept. Unique: what comes twice is found again instead of written again.
ALTER TABLE shop.client ADD COLUMN koshelek text UNIQUE;
ALTER TABLE shop.bonus ADD COLUMN koshelek text UNIQUE;
ALTER TABLE shop.promo_use ADD COLUMN koshelek text UNIQUE;

-- 3. Register. Two calls for one phone at the same moment take turns (the lock), and the second one, which is a new
--    statement inside the function, sees what the first has committed. A plain INSERT … SELECT would not.
CREATE FUNCTION shop.koshelek_register(
    idempotency_key text, phone_typed text, ten text, mail_address text, first text, middle text, last text,
    born_on date, sex text, town text
) RETURNS TABLE (client int, outcome text) LANGUAGE plpgsql AS $$
DECLARE
    known shop.client;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('koshelek'), hashtext(coalesce(ten, lower(mail_address))));
    SELECT * INTO known FROM shop.client c WHERE c.koshelek = idempotency_key;
    IF FOUND THEN  -- ours, sent again; or somebody else's under the same key
        RETURN QUERY SELECT known.id, CASE WHEN shop.last_ten(known.phone) IS NOT DISTINCT FROM ten
                                           THEN 'done' ELSE 'key_taken' END;
        RETURN;
    END IF;
    SELECT * INTO known FROM shop.client c
    WHERE NOT c.deleted AND shop.last_ten(c.phone) = ten ORDER BY c.id DESC LIMIT 1;
    IF FOUND THEN
        RETURN QUERY SELECT known.id, 'done';
        RETURN;
    END IF;
    IF mail_address IS NOT NULL
       AND EXISTS (SELECT FROM shop.client c WHERE NOT c.deleted AND lower(c.email) = lower(mail_address)) THEN
        RETURN QUERY SELECT NULL::int, 'conflict';
        RETURN;
    END IF;
    RETURN QUERY
        INSERT INTO shop.client AS c (phone, email, first_name, middle_name, last_name, born, gender, city, koshelek)
        VALUES (phone_typed, mail_address, coalesce(first, ''), coalesce(middle, ''), coalesce(last, ''), born_on,
                CASE sex WHEN 'm' THEN 'М' WHEN 'f' THEN 'Ж' END, town, idempotency_key)
        RETURNING c.id, 'done';
END
$$;

-- 4. Credit, once per key. The client is locked as the till does it; only then is the ledger read, by statements
--    of their own. What is there under the key is compared with what is asked for before it is believed.
CREATE FUNCTION shop.koshelek_credit(client_id int, idempotency_key text, points numeric, why text)
RETURNS TABLE (credited numeric, outcome text) LANGUAGE plpgsql AS $$
DECLARE
    earlier shop.bonus;
    wanted numeric := round(points, 2);
    now_has numeric;
BEGIN
    PERFORM FROM shop.client WHERE id = client_id AND NOT deleted FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;  -- no row: there is no such customer
    END IF;
    SELECT * INTO earlier FROM shop.bonus b WHERE b.koshelek = idempotency_key;
    IF FOUND THEN
        RETURN QUERY SELECT earlier.change,
                            CASE WHEN earlier.client = client_id AND earlier.change = wanted
                                 THEN 'done' ELSE 'key_taken' END;
        RETURN;
    END IF;
    SELECT balance INTO now_has FROM shop.bonus b WHERE b.client = client_id ORDER BY b.id DESC LIMIT 1;
    INSERT INTO shop.bonus (client, change, balance, reason, koshelek)
    VALUES (client_id, wanted, coalesce(now_has, 0) + wanted, why, idempotency_key);
    RETURN QUERY SELECT wanted, 'done';
END
$$;

-- 5. Promo code. The code is locked, so that its uses are counted one after the other; then as above.
CREATE FUNCTION shop.koshelek_redeem(client_id int, typed text, idempotency_key text, today date)
RETURNS TABLE (outcome text, points numeric, message text) LANGUAGE plpgsql AS $$
DECLARE
    promo shop.promo;
    earlier shop.promo_use;
    by_all int;
    by_client int;
BEGIN
    IF NOT EXISTS (SELECT FROM shop.client WHERE id = client_id AND NOT deleted) THEN
        RETURN QUERY SELECT 'no_such_customer', NULL::numeric, NULL::text;
        RETURN;
    END IF;
    SELECT * INTO promo FROM shop.promo p WHERE upper(p.code) = upper(btrim(typed)) FOR UPDATE;
    SELECT * INTO earlier FROM shop.promo_use u WHERE u.koshelek = idempotency_key;
    IF FOUND THEN
        RETURN QUERY SELECT CASE WHEN earlier.client = client_id AND earlier.code = promo.code
                                 THEN 'done' ELSE 'key_taken' END, promo.points, promo.thanks;
        RETURN;
    END IF;
    SELECT count(*), count(*) FILTER (WHERE u.client = client_id) INTO by_all, by_client
    FROM shop.promo_use u WHERE u.code = promo.code;
    RETURN QUERY SELECT w.why, NULL::numeric, NULL::text FROM (
        SELECT CASE
            WHEN promo.code IS NULL THEN 'code_unknown'
            WHEN today < promo.first_day THEN 'code_not_yet_valid'
            WHEN today > promo.last_day THEN 'code_expired'
            WHEN by_client >= promo.uses_each THEN 'code_used'
            WHEN by_all >= promo.uses_most THEN 'code_exhausted'
        END) AS w (why) WHERE w.why IS NOT NULL;
    IF FOUND THEN
        RETURN;
    END IF;
    INSERT INTO shop.promo_use (code, client, koshelek) VALUES (promo.code, client_id, idempotency_key);
    -- Both or neither: they are one statement for the adapter. The ledger's key is made from the code's.
    PERFORM shop.koshelek_credit(client_id, 'promo:' || idempotency_key, promo.points, 'Промокод ' || promo.code)
    WHERE promo.points > 0;
    RETURN QUERY SELECT 'done', promo.points, promo.thanks;
END
$$;

-- 6. The adapter's role: it reads, and writes what it writes. Set a password:  \password koshelek
--    A role is the whole server's, so another database may have brought it already.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'koshelek') THEN
        CREATE ROLE koshelek LOGIN;
    END IF;
END $$;
GRANT USAGE ON SCHEMA shop TO koshelek;
GRANT SELECT ON ALL TABLES IN SCHEMA shop TO koshelek;
GRANT INSERT, UPDATE ON shop.client, shop.card TO koshelek;
GRANT INSERT ON shop.bonus, shop.promo_use TO koshelek;
GRANT UPDATE ON shop.promo TO koshelek;  -- for the lock
GRANT USAGE ON ALL SEQUENCES IN SCHEMA shop TO koshelek;

COMMIT;
