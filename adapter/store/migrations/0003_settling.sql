-- For CRMs that honour no reference of ours: the balance before a credit, and one credit at a time per
-- account, so that the balance after it tells what became of it.
ALTER TABLE koshelek.operations ADD COLUMN before jsonb;

CREATE TABLE koshelek.account_leases (
    account      text        PRIMARY KEY,
    operation_id bigint      NOT NULL REFERENCES koshelek.operations (id),
    until        timestamptz NOT NULL
);

-- The last balance a CRM told, for the time when it does not answer.
CREATE TABLE koshelek.last_balances (
    card_number text        PRIMARY KEY REFERENCES koshelek.cards (number),
    total       numeric     NOT NULL,
    available   numeric     NOT NULL,
    at          timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);
