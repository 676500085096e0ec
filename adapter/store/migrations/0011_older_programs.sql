-- Runs with programs from schema version 10 on.
-- The oldest schema version whose programs run with a migration; null: its own, so only programs that know it.
ALTER TABLE koshelek.schema_version ADD COLUMN runs_from int;
