-- What it takes to put a dead letter back: the message's own headers, and a mark that it was done.
BEGIN;
SET LOCAL ROLE energy_owner;

ALTER TABLE dead_letters
    ADD COLUMN headers jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN replayed_at timestamptz;
COMMENT ON COLUMN dead_letters.headers IS 'The message''s own headers: pairs of name and value, {"base64": ...} where it is no text';
COMMENT ON COLUMN dead_letters.replayed_at IS 'When it was put back on its topic last (UTC), if so';

GRANT UPDATE (replayed_at) ON dead_letters TO energy_postgres_consumer;

RESET ROLE;
INSERT INTO schema_migrations (version) VALUES ('0008_dead_letter_replay');
COMMIT;
