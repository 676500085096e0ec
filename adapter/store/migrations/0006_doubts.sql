-- Since when an operation has been under way again by a person's decision: how long it may take counts from
-- then. And whether it was ever in doubt, so that it may have reached the CRM whatever its last attempt came to.
ALTER TABLE koshelek.operations
    ADD COLUMN requeued_at timestamptz,
    ADD COLUMN doubted boolean NOT NULL DEFAULT false;

-- Of the first ten attempts the events tell; of later ones nothing is known.
UPDATE koshelek.operations AS operation
   SET doubted = true
 WHERE state IN ('recorded', 'sent', 'unknown', 'held')
   AND (state = 'unknown' OR attempt > 10 OR EXISTS (
           SELECT FROM koshelek.operation_events
            WHERE operation_id = operation.id AND to_state = 'unknown'
       ));

-- Kept by the database, so that no way of changing a state can forget it.
CREATE FUNCTION koshelek.keep_doubt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.doubted := true;
    RETURN NEW;
END
$$;
CREATE TRIGGER operations_doubted BEFORE UPDATE OF state ON koshelek.operations
    FOR EACH ROW WHEN (NEW.state = 'unknown')
    EXECUTE FUNCTION koshelek.keep_doubt();
