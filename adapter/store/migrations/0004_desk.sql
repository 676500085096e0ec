-- Why an operation waits for a person: a few words of ours that quote nothing.
ALTER TABLE koshelek.operations ADD COLUMN reason text;

-- What happened to an operation beside the normal course, and what people decided about it.
CREATE TABLE koshelek.operation_events (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operation_id bigint      NOT NULL REFERENCES koshelek.operations (id),
    at           timestamptz NOT NULL DEFAULT now(),
    -- The person who decided; nobody when the service itself did it.
    who          text,
    from_state   text        NOT NULL,
    to_state     text        NOT NULL,
    attempt      int         NOT NULL,
    note         text
);
CREATE INDEX operation_events_of ON koshelek.operation_events (operation_id, id);

-- Kept by the database, so that no way of changing a state can forget it. Whoever decides says who and why
-- in settings of the transaction.
CREATE FUNCTION koshelek.keep_operation_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO koshelek.operation_events (operation_id, who, from_state, to_state, attempt, note)
    VALUES (NEW.id, nullif(current_setting('koshelek.who', true), ''), OLD.state, NEW.state, NEW.attempt,
            coalesce(nullif(current_setting('koshelek.note', true), ''), NEW.reason));
    RETURN NULL;
END
$$;

-- The normal course (recorded, sent, done) fires nothing. A doubt that is settled by sending again may come
-- back for days; its first ten rounds tell all there is to tell.
CREATE TRIGGER operations_unusual AFTER UPDATE OF state ON koshelek.operations
    FOR EACH ROW
    WHEN (OLD.state <> NEW.state
          AND (OLD.state = 'held' OR NEW.state = 'held'
               OR (NEW.attempt <= 10 AND (OLD.state = 'unknown' OR NEW.state = 'unknown'))))
    EXECUTE FUNCTION koshelek.keep_operation_event();

-- Where each recurring task of the housekeeping stands.
CREATE TABLE koshelek.housekeeping (
    task     text        PRIMARY KEY,
    -- The last operation the task has dealt with.
    position bigint      NOT NULL DEFAULT 0,
    begun_at timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO koshelek.housekeeping (task) VALUES ('pass'), ('purge');

-- Operations that were not over when their turn to be purged came.
CREATE TABLE koshelek.purge_later (
    operation_id bigint PRIMARY KEY REFERENCES koshelek.operations (id)
);
