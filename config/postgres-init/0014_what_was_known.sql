-- Views that were blind: to the scores of meters where no total was complete, and to metering intervals below an hour.
-- And what the trainer has to see to train on what was known: retired meters, weather as it was known and forecast.
BEGIN;
SET LOCAL ROLE energy_owner;

-- By the meters' scores: one silent meter leaves its site and the grid without any complete total.
CREATE OR REPLACE VIEW scored_periods AS
SELECT period, newest - days * interval '1 day' AS first_day, newest AS end_day
FROM (SELECT max(day) AS newest FROM scores) scored, (VALUES ('yesterday', 1), ('7 days', 7)) AS v (period, days);
REVOKE SELECT ON aggregate_scores FROM energy_trainer;
GRANT SELECT (day) ON scores TO energy_trainer;

-- Forecasts reach 48 hours ahead: the number of their elements says how long a step is.
CREATE OR REPLACE VIEW forecast_values AS
SELECT f.building_id, f.meter, f.issued_at, ceil(lead.k * 48.0 / lead.steps)::integer AS lead_h,
       f.issued_at + lead.k * interval '48 hours' / lead.steps AS "timestamp",
       f.q10[lead.k] AS q10_kwh, f.q50[lead.k] AS q50_kwh, f.q90[lead.k] AS q90_kwh, f.quality, f.model
FROM forecasts f CROSS JOIN LATERAL (
    SELECT k, steps FROM array_length(f.q50, 1) AS steps, generate_series(1, steps) AS k) AS lead;
COMMENT ON VIEW forecast_values IS 'Forecasts of meters, one row a lead time; lead_h is in hours, rounded up';

CREATE OR REPLACE VIEW aggregate_forecast_values AS
SELECT f.site_id, f.meter, f.issued_at, ceil(lead.k * 48.0 / lead.steps)::integer AS lead_h,
       f.issued_at + lead.k * interval '48 hours' / lead.steps AS "timestamp",
       f.q02[lead.k] AS q02_kwh, f.q10[lead.k] AS q10_kwh, f.q50[lead.k] AS q50_kwh,
       f.q90[lead.k] AS q90_kwh, f.q98[lead.k] AS q98_kwh, f.model,
       f.q05[lead.k] AS q05_kwh, f.q25[lead.k] AS q25_kwh, f.q75[lead.k] AS q75_kwh, f.q95[lead.k] AS q95_kwh
FROM aggregate_forecasts f CROSS JOIN LATERAL (
    SELECT k, steps FROM array_length(f.q50, 1) AS steps, generate_series(1, steps) AS k) AS lead;
COMMENT ON VIEW aggregate_forecast_values IS 'Forecasts of sites and the grid (site_id null), one row a lead time; lead_h is in hours, rounded up';

-- Only complete totals are truth: every interval of the window, with every meter reported.
CREATE OR REPLACE VIEW decision_outcomes AS
WITH truths AS (
    SELECT site_id, meter, "timestamp", energy_kwh FROM hourly_site_totals WHERE meters_reported = meters_expected
    UNION ALL
    SELECT NULL, meter, "timestamp", energy_kwh FROM hourly_grid_totals WHERE meters_reported = meters_expected)
SELECT d.site_id, d.meter, d.issued_at, d.window_h, d.peak_at, d.peak_probability, d.peak_q10_kw, d.peak_q50_kw,
       d.peak_q90_kw, d.limit_kw, d.limit_probability, d.reserve_kw, came.peak_kw AS true_peak_kw,
       came.peak_at AS true_peak_at, came.peak_at = d.peak_at AS peak_hour_hit,
       came.peak_kw > d.limit_kw AS limit_passed, came.beyond_median_kw <= d.reserve_kw AS reserve_sufficed
FROM decisions d
JOIN aggregate_forecasts f ON f.issued_at = d.issued_at AND f.meter = d.meter
     AND f.site_id IS NOT DISTINCT FROM d.site_id
CROSS JOIN LATERAL (SELECT array_length(f.q50, 1) / 48 AS an_hour) AS steps
JOIN LATERAL (
    SELECT max(t.energy_kwh) * an_hour AS peak_kw,
           (array_agg(t."timestamp" ORDER BY t.energy_kwh DESC, t."timestamp"))[1] AS peak_at,
           max(t.energy_kwh - f.q50[(extract(epoch FROM t."timestamp" - d.issued_at) * an_hour / 3600)::integer])
               * an_hour AS beyond_median_kw,
           count(*) AS steps
    FROM truths t
    WHERE t.site_id IS NOT DISTINCT FROM d.site_id AND t.meter = d.meter AND t."timestamp" > d.issued_at
      AND t."timestamp" <= d.issued_at + d.window_h * interval '1 hour') came ON came.steps = d.window_h * an_hour;
COMMENT ON VIEW decision_outcomes IS 'Decisions beside what came, where every interval of the window is complete';

-- Metadata say which meters are retired.
GRANT SELECT (building_id, meter, retired_at) ON meters TO energy_trainer;

-- Training goes by the weather as it was known then, and as it was forecast then.
CREATE TABLE weather_revisions (
    LIKE weather INCLUDING COMMENTS, PRIMARY KEY (site_id, "timestamp", known_at, source)
) PARTITION BY RANGE ("timestamp");
COMMENT ON TABLE weather_revisions IS 'Versions of observed weather that a later one replaced';
COMMENT ON COLUMN weather_revisions.known_at IS 'When the replaced version became known (UTC)';
SELECT ensure_partitions(min("timestamp"), max("timestamp")) FROM weather HAVING count(*) > 0;
GRANT INSERT ON weather_revisions TO energy_postgres_consumer;
GRANT SELECT ON weather_revisions, weather_forecasts TO energy_trainer;
GRANT SELECT ON weather_revisions TO grafana_reader;

RESET ROLE;
INSERT INTO schema_migrations (version) VALUES ('0014_what_was_known');
COMMIT;
