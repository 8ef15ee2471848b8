-- Which topics the stored offsets are of: one that was made anew, with Kafka's disk lost or an old backup restored, has
-- none of what is stored, though its name is the same.
BEGIN;
SET LOCAL ROLE energy_owner;

CREATE TABLE topics (
    topic text PRIMARY KEY,
    topic_id uuid NOT NULL
);
COMMENT ON TABLE topics IS 'The topics that consumer_offsets is about; energy-setup compares them with Kafka''s';
COMMENT ON COLUMN topics.topic IS 'Topic';
COMMENT ON COLUMN topics.topic_id IS 'Id that Kafka gave it when it was made';
COMMENT ON COLUMN dead_letters."partition" IS 'Its partition; below zero: of an earlier topic of the same name';

GRANT SELECT ON topics TO grafana_reader;

RESET ROLE;
INSERT INTO schema_migrations (version) VALUES ('0017_topics');
COMMIT;
