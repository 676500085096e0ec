-- Runs with programs from schema version 10 on.
-- When the attempt was sent that an event belongs to. The operation itself keeps the last attempt's time alone.
ALTER TABLE koshelek.operation_events ADD COLUMN sent_at timestamptz;

-- Why an attempt came to nothing is in the operation's detail until the next one; here it stays.
CREATE OR REPLACE FUNCTION koshelek.keep_operation_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO koshelek.operation_events (operation_id, who, from_state, to_state, attempt, sent_at, note)
    VALUES (NEW.id, nullif(current_setting('koshelek.who', true), ''), OLD.state, NEW.state, NEW.attempt,
            NEW.sent_at,
            coalesce(nullif(current_setting('koshelek.note', true), ''), NEW.reason,
                     CASE WHEN OLD.state = 'sent' OR NEW.detail IS DISTINCT FROM OLD.detail
                          THEN NEW.detail END));
    RETURN NULL;
END
$$;

-- As before, and whatever certainly was not done and comes again: so every one of the first ten attempts is
-- told, with its time. The normal course still fires nothing.
DROP TRIGGER operations_unusual ON koshelek.operations;
CREATE TRIGGER operations_unusual AFTER UPDATE OF state ON koshelek.operations
    FOR EACH ROW
    WHEN (OLD.state <> NEW.state
          AND (OLD.state IN ('held', 'doubled', 'done', 'refused') OR NEW.state IN ('held', 'doubled')
               OR (NEW.attempt <= 10 AND (OLD.state = 'unknown' OR NEW.state IN ('unknown', 'recorded')))))
    EXECUTE FUNCTION koshelek.keep_operation_event();
