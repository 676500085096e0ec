-- Runs with programs from schema version 10 on.
-- Phones and e-mails that customers are just being given, hashed: of several who ask for one at once, one gets it.
CREATE TABLE koshelek.contact_claims (
    contact  text        PRIMARY KEY,
    customer text        NOT NULL,
    until    timestamptz NOT NULL
);
