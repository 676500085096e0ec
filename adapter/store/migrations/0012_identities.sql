-- Runs with programs from schema version 10 on.
-- Phones and e-mails are kept hashed where they only have to be recognised again: in the identities of
-- registrations. The key stands here, so that all processes have the same.
CREATE TABLE koshelek.identity_key (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    key      bytea   NOT NULL
);
INSERT INTO koshelek.identity_key (key)
VALUES (sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));

-- Programs of the version before still write them as they are, until the last of them is gone.
UPDATE koshelek.operations
   SET identity = encode(sha256(key || convert_to(identity, 'UTF8')), 'hex')
  FROM koshelek.identity_key
 WHERE kind = 'registration' AND (starts_with(identity, '+') OR starts_with(identity, 'email:'));
