-- Runs with programs from schema version 10 on.
-- Who may log in to the console, beside the people of the settings. The password is an argon2 hash.
CREATE TABLE koshelek.console_people (
    name     text        PRIMARY KEY,
    role     text        NOT NULL CHECK (role IN ('reader', 'operator')),
    password text        NOT NULL,
    added_at timestamptz NOT NULL DEFAULT now(),
    added_by text        NOT NULL
);
