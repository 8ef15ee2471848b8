-- The services' rights anew, each as narrow as the statements that use it. docs/security.md shows them as a table.
BEGIN;
SET LOCAL ROLE energy_owner;

REVOKE ALL ON ALL TABLES IN SCHEMA public
    FROM energy_postgres_consumer, energy_redis_consumer, energy_predictor, energy_trainer;
REVOKE ALL ON FUNCTION pinball FROM PUBLIC;

-- What ON CONFLICT compares, RETURNING returns, or a staging table is LIKE, has to be readable as well.
GRANT SELECT ON buildings, scoring_state TO energy_postgres_consumer;
GRANT INSERT ON reading_revisions, rescoring, data_gaps TO energy_postgres_consumer;
GRANT SELECT, INSERT ON meters, readings, site_totals, weather, weather_forecasts, forecasts, aggregate_forecasts,
    decisions, anomalies, dead_letters, unknown_buildings, consumer_offsets TO energy_postgres_consumer;
-- No key is ever changed.
GRANT UPDATE (first_seen) ON meters TO energy_postgres_consumer;
GRANT UPDATE (meter_reading_kwh, known_at) ON readings TO energy_postgres_consumer;
GRANT UPDATE (energy_kwh, meters_reported) ON site_totals TO energy_postgres_consumer;
GRANT UPDATE (known_at, source, air_temperature_c, dew_temperature_c, cloud_coverage_oktas, precipitation_mm,
              sea_level_pressure_hpa, wind_direction_deg, wind_speed_m_s) ON weather TO energy_postgres_consumer;
GRANT UPDATE (replayed_at) ON dead_letters TO energy_postgres_consumer;
GRANT UPDATE (first_reading) ON unknown_buildings TO energy_postgres_consumer;
GRANT UPDATE (next_offset, clock, stored_at) ON consumer_offsets TO energy_postgres_consumer;

-- To fill the cache.
GRANT SELECT ON sites, buildings, meters, readings, consumer_offsets TO energy_redis_consumer, energy_predictor;
GRANT SELECT (issued_at) ON forecasts TO energy_redis_consumer, energy_predictor;

GRANT SELECT ON sites, buildings, readings, latest_readings, weather, aggregate_forecasts, aggregate_scores, score_values
    TO energy_trainer;
GRANT SELECT, INSERT ON models TO energy_trainer;
GRANT UPDATE (status, promoted_at, reason, comparison) ON models TO energy_trainer;

RESET ROLE;
-- Whoever may connect could fill the disk with large objects, the read-only role included.
REVOKE EXECUTE ON FUNCTION lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea) FROM PUBLIC;

INSERT INTO schema_migrations (version) VALUES ('0010_least_privilege');
COMMIT;
