-- What one decides by: peaks, limits and reserves, and how often they came true. Hourly meters: kW is kWh of the hour.
BEGIN;
SET LOCAL ROLE energy_owner;

CREATE TABLE decisions (
    site_id           integer,
    meter             smallint NOT NULL,
    issued_at         timestamptz NOT NULL,
    made_at           timestamptz NOT NULL,
    model             text NOT NULL,
    window_h          smallint NOT NULL,
    peak_at           timestamptz NOT NULL,
    peak_probability  real NOT NULL,
    peak_q10_kw       real NOT NULL,
    peak_q50_kw       real NOT NULL,
    peak_q90_kw       real NOT NULL,
    limit_kw          real,
    limit_probability real,
    reserve_kw        real NOT NULL,
    UNIQUE NULLS NOT DISTINCT (site_id, meter, issued_at, window_h)
) PARTITION BY RANGE (issued_at);
CREATE INDEX decisions_issued_at ON decisions (issued_at);
COMMENT ON TABLE decisions IS 'Peaks, limits and reserves of sites and the grid as issued, never overwritten, from whole 48-hour scenarios';
COMMENT ON COLUMN decisions.site_id IS 'Site, or null for the whole grid';
COMMENT ON COLUMN decisions.meter IS '0 electricity, 1 chilled water, 2 steam, 3 hot water';
COMMENT ON COLUMN decisions.issued_at IS 'Start of the newest interval that was known (UTC)';
COMMENT ON COLUMN decisions.made_at IS 'When it was computed (UTC)';
COMMENT ON COLUMN decisions.model IS 'Model that made the forecasts';
COMMENT ON COLUMN decisions.window_h IS 'How many hours after issued_at it is about (h)';
COMMENT ON COLUMN decisions.peak_at IS 'Start of the interval in which the peak is likeliest (UTC)';
COMMENT ON COLUMN decisions.peak_probability IS 'Probability that the peak lies in that interval';
COMMENT ON COLUMN decisions.peak_q10_kw IS '10 % quantile of the peak''s height, whichever interval it lies in (kW)';
COMMENT ON COLUMN decisions.peak_q50_kw IS 'Median of the peak''s height (kW)';
COMMENT ON COLUMN decisions.peak_q90_kw IS '90 % quantile of the peak''s height (kW)';
COMMENT ON COLUMN decisions.limit_kw IS 'Limit of the site when it was issued (kW), if it had one';
COMMENT ON COLUMN decisions.limit_probability IS 'Probability that the load passes the limit at least once, null without a limit';
COMMENT ON COLUMN decisions.reserve_kw IS 'What to hold above the median so that with 95 % probability it suffices in every interval (kW)';

CREATE VIEW next_peaks AS
SELECT d.site_id, d.meter, d.window_h, d.peak_at, d.peak_at AT TIME ZONE s.time_zone AS peak_at_local,
       d.peak_probability, d.peak_q50_kw AS peak_kw, d.peak_q10_kw AS peak_at_least_kw, d.peak_q90_kw AS peak_at_most_kw,
       d.limit_kw, d.limit_probability, d.reserve_kw, d.issued_at
FROM decisions d
LEFT JOIN sites s USING (site_id)
WHERE d.issued_at = (SELECT max(issued_at) FROM decisions)
ORDER BY d.site_id NULLS FIRST, d.meter, d.window_h;
COMMENT ON VIEW next_peaks IS 'The newest decisions, grid (site_id null) first: next peak with its 80 % interval, limit and reserve';

-- Only complete totals are truth: every hour of the window, with every meter reported.
CREATE VIEW decision_outcomes AS
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
JOIN LATERAL (
    SELECT max(t.energy_kwh) AS peak_kw, (array_agg(t."timestamp" ORDER BY t.energy_kwh DESC, t."timestamp"))[1] AS peak_at,
           max(t.energy_kwh - f.q50[(extract(epoch FROM t."timestamp" - d.issued_at) / 3600)::integer]) AS beyond_median_kw,
           count(*) AS hours
    FROM truths t
    WHERE t.site_id IS NOT DISTINCT FROM d.site_id AND t.meter = d.meter AND t."timestamp" > d.issued_at
      AND t."timestamp" <= d.issued_at + d.window_h * interval '1 hour') came ON came.hours = d.window_h;
COMMENT ON VIEW decision_outcomes IS 'Decisions beside what came, where every hour of the window is complete (hourly meters)';

CREATE VIEW decision_scores AS
SELECT site_id, meter, window_h, count(*) AS decisions,
       avg(peak_hour_hit::integer) AS peak_hour_hit, avg(peak_probability) AS peak_hour_said,
       avg((peak_probability - peak_hour_hit::integer) ^ 2) AS peak_hour_brier,
       avg((true_peak_kw BETWEEN peak_q10_kw AND peak_q90_kw)::integer) AS peak_coverage_80,
       avg(limit_passed::integer) AS limit_passed, avg(limit_probability) AS limit_said,
       avg((limit_probability - limit_passed::integer) ^ 2) AS limit_brier,
       avg(reserve_sufficed::integer) AS reserve_sufficed
FROM decision_outcomes
WHERE issued_at > (SELECT max(issued_at) FROM decisions) - interval '28 days'
GROUP BY site_id, meter, window_h ORDER BY site_id NULLS FIRST, meter, window_h;
COMMENT ON VIEW decision_scores IS 'How well the decisions of the newest 28 days did: Brier scores, coverage, reserve (should be 0.95)';

CREATE VIEW decision_reliability AS
SELECT event, width_bucket(said, 0, 1.0000001, 10) AS tenth, count(*) AS decisions, avg(said) AS said,
       avg(came::integer) AS came
FROM decision_outcomes CROSS JOIN LATERAL (
    VALUES ('peak hour', peak_probability, peak_hour_hit), ('limit', limit_probability, limit_passed)) AS e (event, said, came)
WHERE said IS NOT NULL AND issued_at > (SELECT max(issued_at) FROM decisions) - interval '28 days'
GROUP BY event, tenth ORDER BY event, tenth;
COMMENT ON VIEW decision_reliability IS 'How often came what was said to be so likely, by tenths of probability, newest 28 days';

GRANT SELECT, INSERT ON decisions TO energy_postgres_consumer;
GRANT SELECT ON decisions, next_peaks, decision_outcomes, decision_scores, decision_reliability TO energy_trainer;
GRANT SELECT ON decisions, next_peaks, decision_outcomes, decision_scores, decision_reliability TO grafana_reader;

RESET ROLE;
INSERT INTO schema_migrations (version) VALUES ('0006_decisions');
COMMIT;
