-- What the CRM is given to recognise an operation by. It is made when the operation is recorded and is never
-- given to anything else, whatever happens to this database. Operations recorded by a program of the version
-- before have none here: theirs is made of kind and number until they have ended.
ALTER TABLE koshelek.operations
    ADD COLUMN reference text,
    -- The attempt that was begun by a program that knows the column before this one.
    ADD COLUMN begun int,
    -- What the CRM's driver said last, in words of ours that quote nothing.
    ADD COLUMN detail text;

-- A program of the version before would send an operation of ours under another reference, or look for it
-- under that one and take its absence for proof. It cannot move such an operation; one of ours does, soon.
CREATE FUNCTION koshelek.leave_as_it_is() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RETURN NULL;
END
$$;
CREATE TRIGGER operations_of_newer_programs BEFORE UPDATE OF state ON koshelek.operations
    FOR EACH ROW
    WHEN (OLD.reference IS NOT NULL
          AND ((NEW.state = 'sent' AND NEW.begun IS DISTINCT FROM NEW.attempt)
               OR (NEW.state = 'recorded' AND OLD.state IN ('sent', 'unknown') AND NEW.begun IS NOT NULL)))
    EXECUTE FUNCTION koshelek.leave_as_it_is();

-- Something that the CRM has done more than once waits for a person in a state of its own.
ALTER TABLE koshelek.operations DROP CONSTRAINT operations_state_check;
ALTER TABLE koshelek.operations ADD CONSTRAINT operations_state_check
    CHECK (state IN ('recorded', 'sent', 'unknown', 'done', 'refused', 'held', 'doubled')) NOT VALID;
CREATE INDEX operations_doubled ON koshelek.operations (state, id) WHERE state = 'doubled';

-- As before, and whatever happens to an operation that had ended.
DROP TRIGGER operations_unusual ON koshelek.operations;
CREATE TRIGGER operations_unusual AFTER UPDATE OF state ON koshelek.operations
    FOR EACH ROW
    WHEN (OLD.state <> NEW.state
          AND (OLD.state IN ('held', 'doubled', 'done', 'refused') OR NEW.state IN ('held', 'doubled')
               OR (NEW.attempt <= 10 AND (OLD.state = 'unknown' OR NEW.state = 'unknown'))))
    EXECUTE FUNCTION koshelek.keep_operation_event();
