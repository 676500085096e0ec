-- A card that is issued is told to the users CRM, as an operation too.
ALTER TABLE koshelek.operations DROP CONSTRAINT operations_kind_check;
ALTER TABLE koshelek.operations ADD CONSTRAINT operations_kind_check
    CHECK (kind IN ('receipt', 'promo_code', 'registration', 'coupons', 'card')) NOT VALID;

-- by_crm: the card is blocked or inactive because the users CRM says so, and is what it was (blocked_from) once
-- the CRM says otherwise. A card that was replaced is inactive and nobody's; programs that were released before
-- know no other state.
ALTER TABLE koshelek.cards
    ADD COLUMN by_crm boolean NOT NULL DEFAULT false,
    ADD COLUMN replaced_by text,
    ADD COLUMN replaces text;

-- What happened to a card besides being issued. who: nobody where the CRM said so.
CREATE TABLE koshelek.card_events (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    number text        NOT NULL REFERENCES koshelek.cards (number),
    at     timestamptz NOT NULL DEFAULT now(),
    who    text,
    event  text        NOT NULL,
    note   text
);
CREATE INDEX card_events_of ON koshelek.card_events (number, id);
