-- How long what is stored had waited in Kafka: clocks compared within Postgres do not show that all of them are behind.
BEGIN;
SET LOCAL ROLE energy_owner;

ALTER TABLE consumer_offsets ADD COLUMN arrived_at timestamptz;
COMMENT ON COLUMN consumer_offsets.arrived_at IS 'When the last message that is stored had arrived in Kafka (UTC); stored_at less this is how far storing is behind';

GRANT UPDATE (arrived_at) ON consumer_offsets TO energy_postgres_consumer;

RESET ROLE;
INSERT INTO schema_migrations (version) VALUES ('0016_arrival');
COMMIT;
