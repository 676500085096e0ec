CREATE TABLE koshelek.cards (
    number            text PRIMARY KEY,
    barcode_number    text NOT NULL,
    barcode_type      text NOT NULL,
    state             text NOT NULL
        CHECK (state IN ('free', 'reserved', 'ownerless', 'active', 'inactive', 'blocked')),
    reserved_until    timestamptz,
    users_reference   text,
    points_reference  text,
    coupons_reference text,
    issued_at         timestamptz,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    CHECK ((state = 'reserved') = (reserved_until IS NOT NULL)),
    CHECK (state NOT IN ('free', 'reserved', 'ownerless') OR users_reference IS NULL),
    -- State before a block, so that unblocking can restore it.
    blocked_from      text
);

-- One card per person, whatever happens in parallel.
CREATE UNIQUE INDEX cards_one_per_customer ON koshelek.cards (users_reference)
    WHERE users_reference IS NOT NULL;
CREATE INDEX cards_free ON koshelek.cards (number) WHERE state = 'free';
CREATE INDEX cards_reserved ON koshelek.cards (reserved_until) WHERE state = 'reserved';

CREATE TABLE koshelek.number_ranges (
    prefix      text   NOT NULL,
    length      int    NOT NULL,
    check_digit text   NOT NULL,
    next_value  bigint NOT NULL,
    PRIMARY KEY (prefix, length, check_digit)
);

CREATE TABLE koshelek.consents (
    card_number text        NOT NULL REFERENCES koshelek.cards (number),
    channel     text        NOT NULL,
    allowed     boolean     NOT NULL,
    changed_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (card_number, channel)
);
