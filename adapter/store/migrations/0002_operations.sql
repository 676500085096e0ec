CREATE TABLE koshelek.operations (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind          text        NOT NULL CHECK (kind IN ('receipt', 'promo_code', 'registration')),
    identity      text        NOT NULL,
    -- False once the identity may be recorded anew: a refused promo code, a second use of it.
    live          boolean     NOT NULL DEFAULT true,
    card_number   text,
    fingerprint   text        NOT NULL,
    request       jsonb       NOT NULL,
    state         text        NOT NULL DEFAULT 'recorded'
        CHECK (state IN ('recorded', 'sent', 'unknown', 'done', 'refused', 'held')),
    attempt       int         NOT NULL DEFAULT 0,
    recorded_at   timestamptz NOT NULL DEFAULT now(),
    sent_at       timestamptz,
    finished_at   timestamptz,
    code          text,
    points        numeric,
    crm_reference text,
    message       text
) WITH (fillfactor = 70);  -- each row is updated twice soon after its birth

CREATE UNIQUE INDEX operations_identity ON koshelek.operations (kind, identity) WHERE live;
CREATE INDEX operations_open ON koshelek.operations (state, id)
    WHERE state IN ('recorded', 'sent', 'unknown', 'held');
