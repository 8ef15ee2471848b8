-- What each service may do: as little as its work needs.
BEGIN;
SET LOCAL ROLE energy_owner;

GRANT SELECT ON sites, buildings, consumer_offsets TO energy_postgres_consumer;
GRANT SELECT, INSERT, UPDATE ON meters, readings, site_totals, weather, unknown_buildings, consumer_offsets
    TO energy_postgres_consumer;
GRANT SELECT, INSERT ON reading_revisions, weather_forecasts, forecasts, aggregate_forecasts, scores, anomalies,
    dead_letters, data_gaps TO energy_postgres_consumer;
GRANT EXECUTE ON FUNCTION ensure_partitions TO energy_postgres_consumer;

GRANT SELECT ON sites, buildings, meters, readings, forecasts, latest_readings TO energy_redis_consumer;
GRANT SELECT ON sites, buildings, meters, readings, weather, forecasts, models TO energy_predictor;
GRANT SELECT ON sites, buildings, meters, readings, weather, weather_forecasts, forecasts, scores TO energy_trainer;
GRANT SELECT, INSERT, UPDATE ON models TO energy_trainer;

GRANT SELECT ON ALL TABLES IN SCHEMA public TO grafana_reader;

RESET ROLE;
INSERT INTO schema_migrations (version) VALUES ('0004_grants');
COMMIT;
