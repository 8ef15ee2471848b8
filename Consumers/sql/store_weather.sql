-- The observation that became known last wins; what it replaces is kept as a revision.
WITH incoming AS (
    SELECT DISTINCT ON (site_id, "timestamp") * FROM staged_weather
    ORDER BY site_id, "timestamp", known_at DESC, source DESC
), kept AS (
    INSERT INTO weather_revisions
    SELECT w.* FROM weather w JOIN incoming i USING (site_id, "timestamp")
    WHERE (w.known_at, w.source) < (i.known_at, i.source)
    ON CONFLICT DO NOTHING
)
INSERT INTO weather AS w
SELECT * FROM incoming
ON CONFLICT (site_id, "timestamp") DO UPDATE
SET known_at = excluded.known_at, source = excluded.source,
    air_temperature_c = excluded.air_temperature_c, dew_temperature_c = excluded.dew_temperature_c,
    cloud_coverage_oktas = excluded.cloud_coverage_oktas, precipitation_mm = excluded.precipitation_mm,
    sea_level_pressure_hpa = excluded.sea_level_pressure_hpa, wind_direction_deg = excluded.wind_direction_deg,
    wind_speed_m_s = excluded.wind_speed_m_s
WHERE (w.known_at, w.source) < (excluded.known_at, excluded.source);
