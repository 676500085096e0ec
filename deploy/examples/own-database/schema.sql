-- A shop's own database as one finds it: nobody thought of a wallet when it was made. Phones stand as people typed
-- them, a customer may have several cards, the ledger of points keeps a running balance, promo codes have limits.
-- The adapter needs none of it to change; additions.sql adds what it needs besides.

CREATE SCHEMA shop;

-- Its times have no zone; the till writes them with now(), in the zone of this database.
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = ''Europe/Moscow''', current_database()); END $$;

CREATE TABLE shop.client (
    id           serial PRIMARY KEY,
    last_name    text NOT NULL DEFAULT '',
    first_name   text NOT NULL DEFAULT '',
    middle_name  text NOT NULL DEFAULT '',
    phone        text,                      -- '8 (916) 123-45-67', '+7 916 1234567', '9161234567', 'нет'
    email        text,
    born         date,
    gender       char(1),                   -- 'М', 'Ж'
    city         text,
    sms          boolean,                   -- may we write; null: never asked
    mail         boolean,
    call         boolean,
    status       text NOT NULL DEFAULT 'base',
    created      timestamp NOT NULL DEFAULT now(),   -- without a zone: Moscow time
    deleted      boolean NOT NULL DEFAULT false
);

-- Plastic comes from the printer in boxes; a customer who loses a card gets another one.
CREATE TABLE shop.card (
    number   varchar(20) PRIMARY KEY,
    client   int REFERENCES shop.client,    -- null: still in the box
    state    char(1) NOT NULL DEFAULT 'A',  -- A active, B blocked, R replaced by the next
    next     varchar(20) REFERENCES shop.card,
    given    timestamp
);
CREATE INDEX card_client ON shop.card (client, given);

-- Each row says what the balance was after it; so rows of one client have to follow each other.
CREATE TABLE shop.bonus (
    id       bigserial PRIMARY KEY,
    client   int NOT NULL REFERENCES shop.client,
    change   numeric(12, 2) NOT NULL,
    balance  numeric(12, 2) NOT NULL CHECK (balance >= 0),
    reason   text NOT NULL,
    usable   timestamp NOT NULL DEFAULT now(),   -- points of a purchase can be spent later
    at       timestamp NOT NULL DEFAULT now()
);
CREATE INDEX bonus_client ON shop.bonus (client, id);

CREATE TABLE shop.sale (
    id      serial PRIMARY KEY,
    client  int REFERENCES shop.client,
    place   text NOT NULL,
    at      timestamp NOT NULL
);
CREATE INDEX sale_client ON shop.sale (client, at);
CREATE TABLE shop.sale_line (
    sale   int NOT NULL REFERENCES shop.sale,
    name   text NOT NULL,
    count  numeric(10, 3) NOT NULL DEFAULT 1,
    sum    numeric(12, 2) NOT NULL           -- roubles
);
CREATE INDEX sale_line_sale ON shop.sale_line (sale);

CREATE TABLE shop.promo (
    code        text PRIMARY KEY,
    points      numeric(12, 2) NOT NULL,
    thanks      text,
    first_day   date,
    last_day    date,
    uses_most   int,                         -- by all together; null: any number
    uses_each   int NOT NULL DEFAULT 1       -- by one client
);
CREATE TABLE shop.promo_use (
    code    text NOT NULL REFERENCES shop.promo,
    client  int NOT NULL REFERENCES shop.client,
    at      timestamp NOT NULL DEFAULT now()
);
CREATE INDEX promo_use_code ON shop.promo_use (code, client);

CREATE TABLE shop.action (
    id         serial PRIMARY KEY,
    title      text NOT NULL,
    body       text NOT NULL DEFAULT '',
    first_day  date,
    last_day   date,
    status     text                          -- whose: clients of this status; null: everybody's
);

-- What the till calls. It locks the client first, so that the running balance does not fork.
CREATE FUNCTION shop.pay_with_bonus(client_id int, points numeric, receipt text) RETURNS numeric
LANGUAGE plpgsql AS $$
DECLARE
    now_has numeric;
BEGIN
    PERFORM FROM shop.client WHERE id = client_id FOR UPDATE;
    SELECT balance INTO now_has FROM shop.bonus WHERE client = client_id ORDER BY id DESC LIMIT 1;
    IF coalesce(now_has, 0) < points THEN
        RAISE EXCEPTION 'not enough points';
    END IF;
    INSERT INTO shop.bonus (client, change, balance, reason)
    VALUES (client_id, -points, now_has - points, 'Оплата чека ' || receipt);
    RETURN now_has - points;
END
$$;
