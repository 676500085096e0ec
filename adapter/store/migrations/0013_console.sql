-- Runs with programs from schema version 10 on.
-- What people did in the console: who logged in, whose data somebody had shown, what was decided. Kept by the
-- service; a card number stands here only where the data of its holder were shown or changed.
CREATE TABLE koshelek.console_audit (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           timestamptz NOT NULL DEFAULT now(),
    who          text        NOT NULL,
    action       text        NOT NULL,
    operation_id bigint,
    card_number  text,
    note         text
);
CREATE INDEX console_audit_at ON koshelek.console_audit (at);

-- The desk asks for the operations of a card, and for what people decided last.
CREATE INDEX operations_of_card ON koshelek.operations (card_number, id);
CREATE INDEX operation_events_decided ON koshelek.operation_events (id) WHERE who IS NOT NULL;
