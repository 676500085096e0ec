-- Runs with programs from schema version 10 on.
-- What Koshelek sends that no setting names: names of fields, parameters, headers, verbs and paths; no value.
CREATE TABLE koshelek.observed (
    call       text        NOT NULL,
    what       text        NOT NULL,
    name       text        NOT NULL,
    times      bigint      NOT NULL,
    first_seen timestamptz NOT NULL DEFAULT now(),
    last_seen  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (call, what, name)
);
