-- Staging tables of one connection; COPY fills them, one statement each moves them on, a commit empties them.
CREATE TEMPORARY TABLE IF NOT EXISTS staged_readings (
    building_id integer, meter smallint, "timestamp" timestamptz, meter_reading_kwh double precision, known_at timestamptz
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS contested_readings (LIKE staged_readings) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS staged_forecasts (LIKE forecasts) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS staged_aggregate_forecasts (LIKE aggregate_forecasts) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS staged_decisions (LIKE decisions) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS staged_weather (LIKE weather) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS staged_weather_forecasts (LIKE weather_forecasts) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS staged_anomalies (LIKE anomalies) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS staged_dead_letters (LIKE dead_letters) ON COMMIT DELETE ROWS;
