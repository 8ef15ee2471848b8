-- Who rebuilds the cache has to know how far the warehouse has come in the topics.
BEGIN;
SET LOCAL ROLE energy_owner;

GRANT SELECT ON consumer_offsets TO energy_redis_consumer, energy_predictor;

RESET ROLE;
INSERT INTO schema_migrations (version) VALUES ('0009_cache_rebuild');
COMMIT;
