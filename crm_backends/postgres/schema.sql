-- A small CRM in one PostgreSQL schema: customers, consents, points in lots, purchases, offers, promo codes.
-- Idempotent: it may be run again at any time and changes nothing that is there.
-- Money is whole kopecks, points are numeric(14,2), phones are E.164 with the plus sign.

CREATE SCHEMA IF NOT EXISTS crm;

CREATE TABLE IF NOT EXISTS crm.programme (
    only_row           boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    points_per_rouble  numeric(10, 4) NOT NULL DEFAULT 0.01 CHECK (points_per_rouble >= 0),
    points_days        integer CHECK (points_days > 0)
);
COMMENT ON TABLE crm.programme IS 'One row: the rules by which points are earned.';
COMMENT ON COLUMN crm.programme.points_days IS 'Days new points live; null = for ever.';
INSERT INTO crm.programme DEFAULT VALUES ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS crm.customers (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    phone          text UNIQUE CHECK (phone ~ '^\+[1-9][0-9]{6,14}$'),
    email          text,
    first_name     text,
    patronymic     text,
    surname        text,
    birth_date     date,
    sex            text CHECK (sex IN ('m', 'f')),
    country_code   text,
    locality       text,
    card_number    text UNIQUE,
    registered_at  timestamptz NOT NULL DEFAULT now(),
    reference      text UNIQUE
);
COMMENT ON COLUMN crm.customers.reference IS 'The adapter''s reference of the registration, if it made it.';
COMMENT ON COLUMN crm.customers.card_number IS
    'The card the customer has now. Changed to another number, the old card counts as replaced by it.';
CREATE UNIQUE INDEX IF NOT EXISTS customers_email ON crm.customers (lower(email));

-- Whose a card is stands in crm.customers.card_number alone. Here is what else is known of a number: plastic that
-- nobody has yet, what is printed on a card, and cards that are blocked, replaced or no longer good. A customer's
-- number that is not here is active, and its barcode is the number.
CREATE TABLE IF NOT EXISTS crm.cards (
    number        text PRIMARY KEY,
    state         text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'inactive', 'blocked', 'replaced')),
    replaced_by   text CHECK (replaced_by <> number),
    barcode       text,
    barcode_type  text CHECK (barcode_type IN ('EAN_8', 'EAN_13', 'CODE_128', 'UPC_A', 'QR_CODE')),
    CHECK (replaced_by IS NULL OR state = 'replaced')
);
COMMENT ON COLUMN crm.cards.state IS
    'Blocked: the owner sees no card in the wallet and gets no other. Back to active: as before.';
COMMENT ON COLUMN crm.cards.barcode IS 'What is printed on the card; null = the number.';

-- A customer who gets another number has the old card replaced; one whose number is taken away has it inactive.
-- With the owner's rights: whoever may change a customer need not be let into crm.cards.
CREATE OR REPLACE FUNCTION crm.card_changes_hands() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF OLD.card_number IS NOT NULL THEN
        INSERT INTO crm.cards AS kept (number, state, replaced_by)
        VALUES (OLD.card_number, CASE WHEN NEW.card_number IS NULL THEN 'inactive' ELSE 'replaced' END,
                NEW.card_number)
        ON CONFLICT (number) DO UPDATE SET state = EXCLUDED.state, replaced_by = EXCLUDED.replaced_by;
    END IF;
    UPDATE crm.cards SET state = 'active', replaced_by = NULL
    WHERE number = NEW.card_number AND state = 'replaced';
    RETURN NULL;
END
$$;
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger
                   WHERE tgrelid = 'crm.customers'::regclass AND tgname = 'card_changes_hands') THEN
        CREATE TRIGGER card_changes_hands AFTER UPDATE OF card_number ON crm.customers
            FOR EACH ROW WHEN (OLD.card_number IS DISTINCT FROM NEW.card_number)
            EXECUTE FUNCTION crm.card_changes_hands();
    END IF;
END
$$;

CREATE TABLE IF NOT EXISTS crm.consents (
    customer_id  bigint NOT NULL REFERENCES crm.customers ON DELETE CASCADE,
    channel      text NOT NULL CHECK (channel IN ('sms', 'email', 'call', 'push')),
    allowed      boolean NOT NULL,
    changed_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (customer_id, channel)
);

-- A row with a positive amount is a lot: it is spent bit by bit, "remaining" is what is left of it.
-- A row with a negative amount says what was spent, and has no "remaining".
CREATE TABLE IF NOT EXISTS crm.points_ledger (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id     bigint NOT NULL REFERENCES crm.customers,
    amount          numeric(14, 2) NOT NULL,
    remaining       numeric(14, 2),
    description     text NOT NULL,
    reference       text UNIQUE,
    created_at      timestamptz NOT NULL DEFAULT now(),
    available_from  timestamptz NOT NULL DEFAULT now(),
    valid_until     date,
    total_kopecks   bigint,
    CHECK ((amount >= 0) = (remaining IS NOT NULL)),
    CHECK (remaining BETWEEN 0 AND amount)
);
ALTER TABLE crm.points_ledger ADD COLUMN IF NOT EXISTS total_kopecks bigint;
COMMENT ON COLUMN crm.points_ledger.reference IS
    'Whose row this is: the adapter''s, 26 capitals and digits; a row that another program writes has none, or one '
    'of another form, such as ''till:'' and a number.';
COMMENT ON COLUMN crm.points_ledger.total_kopecks IS
    'Of the receipt credited under the reference, to compare with when the reference comes again; null: not known.';
COMMENT ON COLUMN crm.points_ledger.valid_until IS 'Last day on which the lot counts; null = for ever.';
CREATE INDEX IF NOT EXISTS points_ledger_customer ON crm.points_ledger (customer_id, created_at, id);
CREATE INDEX IF NOT EXISTS points_ledger_lots ON crm.points_ledger (customer_id) WHERE remaining > 0;

CREATE TABLE IF NOT EXISTS crm.purchases (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id      bigint NOT NULL REFERENCES crm.customers,
    at               timestamptz NOT NULL,
    item             text NOT NULL,
    amount_kopecks   bigint NOT NULL,
    quantity         numeric(14, 3) NOT NULL DEFAULT 1,
    location         text NOT NULL DEFAULT '',
    bonuses          numeric(14, 2) NOT NULL DEFAULT 0,
    fiscal_drive     text,
    fiscal_document  text,
    fiscal_sign      text
);
CREATE INDEX IF NOT EXISTS purchases_customer ON crm.purchases (customer_id, at, id);
CREATE INDEX IF NOT EXISTS purchases_receipt ON crm.purchases (fiscal_drive, fiscal_document, fiscal_sign)
    WHERE fiscal_drive IS NOT NULL;

CREATE TABLE IF NOT EXISTS crm.offers (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title        text NOT NULL,
    description  text NOT NULL DEFAULT '',
    code         text,
    valid_from   timestamptz,
    valid_until  timestamptz,
    image_url    text,
    url          text,
    active       boolean NOT NULL DEFAULT true,
    occasion     text
);
COMMENT ON COLUMN crm.offers.occasion IS
    'Null: shown to everybody. Else: given to a customer when that occasion comes.';

CREATE TABLE IF NOT EXISTS crm.customer_offers (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id  bigint NOT NULL REFERENCES crm.customers,
    offer_id     bigint NOT NULL REFERENCES crm.offers,
    reference    text NOT NULL,
    issued_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (reference, offer_id)
);
CREATE INDEX IF NOT EXISTS customer_offers_customer ON crm.customer_offers (customer_id);

CREATE TABLE IF NOT EXISTS crm.promo_codes (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code          text NOT NULL CHECK (btrim(code) <> ''),
    points        numeric(14, 2) NOT NULL CHECK (points >= 0),
    message       text,
    valid_from    timestamptz,
    valid_until   timestamptz,
    max_uses      integer CHECK (max_uses > 0),
    per_customer  integer NOT NULL DEFAULT 1 CHECK (per_customer > 0),
    uses          integer NOT NULL DEFAULT 0
);
COMMENT ON COLUMN crm.promo_codes.max_uses IS 'By all customers together; null = no limit.';
COMMENT ON COLUMN crm.promo_codes.uses IS 'Kept by crm.redeem_code; do not write it.';
CREATE UNIQUE INDEX IF NOT EXISTS promo_codes_code ON crm.promo_codes (upper(btrim(code)));

CREATE TABLE IF NOT EXISTS crm.promo_redemptions (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code_id      bigint NOT NULL REFERENCES crm.promo_codes,
    customer_id  bigint NOT NULL REFERENCES crm.customers,
    reference    text NOT NULL UNIQUE,
    points       numeric(14, 2) NOT NULL,
    message      text,
    redeemed_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS promo_redemptions_customer ON crm.promo_redemptions (customer_id, code_id);

-- The last day of points that are earned today; null = for ever.
CREATE OR REPLACE FUNCTION crm.last_day_of_new_points(today date DEFAULT CURRENT_DATE) RETURNS date
LANGUAGE sql STABLE AS $$
    SELECT today + points_days FROM crm.programme
$$;

-- Points for a receipt where the caller leaves the amount to the CRM. Only a sale (settlement 1) earns;
-- without a receipt there is no rule, and the null it returns makes the credit fail.
CREATE OR REPLACE FUNCTION crm.points_for_receipt(total_kopecks bigint, settlement integer) RETURNS numeric
LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN settlement = 1 THEN floor(total_kopecks * points_per_rouble / 100)
        WHEN settlement IN (2, 3, 4) THEN 0
    END
    FROM crm.programme
$$;

-- Spend points at the till: lots that expire first go first. Returns the points spent.
-- The same reference again spends nothing and returns the same points.
-- Raises P0001 "not enough points", "no such customer", or "reference taken": it is there with another customer
-- or other points.
CREATE OR REPLACE FUNCTION crm.spend_points(
    customer bigint, points numeric, description text, reference text, today date DEFAULT CURRENT_DATE
) RETURNS numeric
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    wanted   ALIAS FOR $2;
    kept     crm.points_ledger;
    in_hand  numeric;
BEGIN
    IF wanted IS NULL OR wanted <= 0 OR wanted <> round(wanted, 2) THEN
        RAISE EXCEPTION 'points must be positive, with at most two decimals';
    END IF;
    -- One spending per customer at a time; credits are not held up by this lock.
    PERFORM FROM crm.customers WHERE id = customer FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such customer';
    END IF;

    SELECT * INTO kept FROM crm.points_ledger l WHERE l.reference = spend_points.reference;
    IF FOUND THEN
        IF kept.customer_id = customer AND kept.amount = -wanted THEN
            RETURN wanted;
        END IF;
        RAISE EXCEPTION 'reference taken';
    END IF;

    SELECT coalesce(sum(l.remaining), 0) INTO in_hand
    FROM crm.points_ledger l
    WHERE l.customer_id = customer AND l.remaining > 0
      AND l.available_from <= now() AND (l.valid_until IS NULL OR l.valid_until >= today);
    IF in_hand < wanted THEN
        RAISE EXCEPTION 'not enough points';
    END IF;

    UPDATE crm.points_ledger l
    SET remaining = l.remaining - least(l.remaining, wanted - lots.before)
    FROM (
        SELECT id, sum(remaining) OVER (ORDER BY valid_until NULLS LAST, id) - remaining AS before
        FROM crm.points_ledger
        WHERE customer_id = customer AND remaining > 0
          AND available_from <= now() AND (valid_until IS NULL OR valid_until >= today)
    ) lots
    WHERE l.id = lots.id AND lots.before < wanted;

    INSERT INTO crm.points_ledger (customer_id, amount, description, reference)
    VALUES (customer, -wanted, spend_points.description, spend_points.reference);
    RETURN wanted;
END
$$;

-- Use a promo code. Codes compare without regard to case and outer blanks. Returns one row:
-- outcome 'done', 'no_such_customer', 'code_unknown', 'code_not_yet_valid', 'code_expired', 'code_used',
-- 'code_exhausted' or 'key_taken'; points and message when done. The same reference again returns the same
-- row; with another customer or another code it is taken, and nothing is done.
CREATE OR REPLACE FUNCTION crm.redeem_code(
    customer bigint, wanted_code text, wanted_reference text, today date DEFAULT CURRENT_DATE
) RETURNS TABLE (outcome text, points numeric, message text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    promo  crm.promo_codes;
    kept   crm.promo_redemptions;
    mine   integer;
BEGIN
    IF NOT EXISTS (SELECT FROM crm.customers WHERE id = customer) THEN
        RETURN QUERY SELECT 'no_such_customer', NULL::numeric, NULL::text;
        RETURN;
    END IF;
    -- Calls with one reference follow each other, whatever their codes; so do those with one code, so that the
    -- counts below hold. Always in this order, lest two wait for each other.
    PERFORM pg_advisory_xact_lock(hashtextextended(wanted_reference, 0));
    SELECT * INTO promo FROM crm.promo_codes c
    WHERE upper(btrim(c.code)) = upper(btrim(wanted_code)) FOR NO KEY UPDATE;

    SELECT * INTO kept FROM crm.promo_redemptions r WHERE r.reference = wanted_reference;
    IF FOUND THEN
        IF kept.customer_id = customer AND kept.code_id = promo.id THEN
            RETURN QUERY SELECT 'done', kept.points, kept.message;
        ELSE
            RETURN QUERY SELECT 'key_taken', NULL::numeric, NULL::text;
        END IF;
        RETURN;
    END IF;
    IF promo.id IS NULL THEN
        RETURN QUERY SELECT 'code_unknown', NULL::numeric, NULL::text;
        RETURN;
    END IF;

    SELECT count(*) INTO mine FROM crm.promo_redemptions r
    WHERE r.customer_id = customer AND r.code_id = promo.id;
    IF promo.valid_from > now() THEN
        RETURN QUERY SELECT 'code_not_yet_valid', NULL::numeric, NULL::text;
    ELSIF mine >= promo.per_customer THEN
        RETURN QUERY SELECT 'code_used', NULL::numeric, NULL::text;
    ELSIF promo.valid_until <= now() THEN
        RETURN QUERY SELECT 'code_expired', NULL::numeric, NULL::text;
    ELSIF promo.uses >= promo.max_uses THEN
        RETURN QUERY SELECT CASE promo.max_uses WHEN 1 THEN 'code_used' ELSE 'code_exhausted' END,
                            NULL::numeric, NULL::text;
    ELSE
        UPDATE crm.promo_codes SET uses = uses + 1 WHERE id = promo.id;
        INSERT INTO crm.promo_redemptions (code_id, customer_id, reference, points, message)
        VALUES (promo.id, customer, wanted_reference, promo.points, promo.message);
        INSERT INTO crm.points_ledger (customer_id, amount, remaining, description, reference, valid_until)
        SELECT customer, promo.points, promo.points, btrim(promo.code),
               'promo:' || wanted_reference, crm.last_day_of_new_points(today)
        WHERE promo.points > 0;
        RETURN QUERY SELECT 'done', promo.points, promo.message;
    END IF;
END
$$;

-- Give a customer all offers of an occasion. Returns one row: outcome 'done', 'no_such_customer' or
-- 'key_taken'; coupons are the ids, with commas, null where the occasion has no offers. The same reference
-- again returns the same row; with another customer it is taken, and nothing is given.
CREATE OR REPLACE FUNCTION crm.issue_offers(customer bigint, wanted_occasion text, wanted_reference text)
RETURNS TABLE (outcome text, coupons text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    IF NOT EXISTS (SELECT FROM crm.customers WHERE id = customer) THEN
        RETURN QUERY SELECT 'no_such_customer', NULL::text;
        RETURN;
    END IF;
    -- Calls with one reference follow each other: each sees what the one before has given.
    PERFORM pg_advisory_xact_lock(hashtextextended(wanted_reference, 0));
    IF EXISTS (
        SELECT FROM crm.customer_offers i WHERE i.reference = wanted_reference AND i.customer_id <> customer
    ) THEN
        RETURN QUERY SELECT 'key_taken', NULL::text;
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM crm.customer_offers i WHERE i.reference = wanted_reference) THEN
        INSERT INTO crm.customer_offers (customer_id, offer_id, reference)
        SELECT customer, o.id, wanted_reference
        FROM crm.offers o
        WHERE o.occasion = wanted_occasion AND o.active
          AND (o.valid_from IS NULL OR o.valid_from <= now())
          AND (o.valid_until IS NULL OR o.valid_until > now())
        ORDER BY o.id;
    END IF;
    RETURN QUERY
        SELECT 'done', string_agg(i.id::text, ',' ORDER BY i.id)
        FROM crm.customer_offers i WHERE i.reference = wanted_reference;
END
$$;
