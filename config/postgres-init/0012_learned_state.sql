-- A copy of what the predictor has learned, for the day on which Redis and the predictor are lost together.
BEGIN;
SET LOCAL ROLE energy_owner;

CREATE TABLE learned_state (
    part text PRIMARY KEY,
    learned_until timestamptz NOT NULL,
    content bytea NOT NULL
);
COMMENT ON TABLE learned_state IS 'What the predictor has learned from the truth about its intervals: a copy, a few hours old, of what it keeps in Redis';
COMMENT ON COLUMN learned_state.part IS 'Factors of the meters'' intervals, or residual paths of sites and the grid';
COMMENT ON COLUMN learned_state.learned_until IS 'Newest closed interval that was learned from, UTC';
COMMENT ON COLUMN learned_state.content IS 'Arrays with their names, types and shapes, as the predictor packs them (MessagePack)';

GRANT SELECT, INSERT, UPDATE (learned_until, content) ON learned_state TO energy_predictor;
GRANT SELECT ON learned_state TO grafana_reader;

RESET ROLE;
INSERT INTO schema_migrations (version) VALUES ('0012_learned_state');
COMMIT;
