-- How soon the CRM that performs operations of a kind shows what it has done: the proof without which nothing
-- is sent again because it was not found.
CREATE TABLE koshelek.visibility (
    kind          text             PRIMARY KEY,
    -- Which CRM it was, as a fingerprint of the settings: another one has to prove it anew.
    crm           text             NOT NULL,
    state         text             NOT NULL CHECK (state IN ('not_proved', 'proved', 'refuted')),
    -- The longest it took; 0: it was there at the first look.
    worst_seconds double precision NOT NULL DEFAULT 0,
    found         bigint           NOT NULL DEFAULT 0,
    proved_at     timestamptz,
    looked_at     timestamptz,
    changed_at    timestamptz      NOT NULL DEFAULT now()
);

-- A doubt that was looked for and not found: since when the CRM has answered without a break, and when it was
-- looked for last.
ALTER TABLE koshelek.operations
    ADD COLUMN answering_since timestamptz,
    ADD COLUMN looked_at timestamptz;
