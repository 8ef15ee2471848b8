-- Views that would not answer within grafana_reader's statement_timeout where there are a thousand meters or years of
-- scores: what they read no longer grows with what is stored.
BEGIN;
SET LOCAL ROLE energy_owner;

CREATE VIEW expected_meters AS
SELECT site_id, meter, since, until, meters
FROM (SELECT total.site_id, m.meter, change.at AS since, coalesce(lead(change.at) OVER later, 'infinity') AS until,
             sum(change.meters) OVER later AS meters
      FROM meters m JOIN buildings b USING (building_id)
      CROSS JOIN LATERAL (VALUES (b.site_id), (-1)) AS total (site_id)
      CROSS JOIN LATERAL (VALUES (m.first_seen, 1), (m.retired_at, -1)) AS change (at, meters)
      WHERE m.first_seen < coalesce(m.retired_at, 'infinity') AND change.at IS NOT NULL
      WINDOW later AS (PARTITION BY total.site_id, m.meter ORDER BY change.at)) AS counted
WHERE since < until;
COMMENT ON VIEW expected_meters IS 'How many meters are expected to report in intervals of [since, until), by site and meter code; the grid is site -1, so that it can be joined';

-- What decision_outcomes says of the decisions issued in [first, last], for many of them: the complete totals of the span
-- are made once, not once a decision. Hash joins (the planner takes intermediate results for small).
CREATE FUNCTION outcomes_of_decisions(first timestamptz, last timestamptz) RETURNS TABLE (
    site_id integer, meter smallint, issued_at timestamptz, window_h smallint, peak_at timestamptz, peak_probability real,
    peak_q10_kw real, peak_q50_kw real, peak_q90_kw real, limit_kw real, limit_probability real, reserve_kw real,
    true_peak_kw double precision, true_peak_at timestamptz, peak_hour_hit boolean, limit_passed boolean,
    reserve_sufficed boolean)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC'
    SET plan_cache_mode = force_custom_plan SET enable_nestloop = off SET enable_mergejoin = off SET work_mem = '64MB' AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH reported AS MATERIALIZED (
        SELECT coalesce(site_id, -1) AS site_id, meter, "timestamp", sum(energy_kwh)::double precision AS kwh,
               sum(meters_reported) AS meters
        FROM site_totals WHERE "timestamp" > first AND "timestamp" <= last + interval '48 hours'
        GROUP BY GROUPING SETS ((site_id, meter, "timestamp"), (meter, "timestamp"))
    ), truths AS MATERIALIZED ( -- of the 48 hours after each issue of a day, highest first
        SELECT site_id, meter, date_trunc('day', "timestamp") - days * interval '1 day' AS day,
               array_agg("timestamp" ORDER BY kwh DESC, "timestamp") AS at,
               array_agg(kwh ORDER BY kwh DESC, "timestamp") AS kwh
        FROM reported JOIN expected_meters USING (site_id, meter, meters) CROSS JOIN generate_series(0, 2) AS days
        WHERE "timestamp" >= since AND "timestamp" < until
        GROUP BY site_id, meter, day
    )
    SELECT d.site_id, d.meter, d.issued_at, d.window_h, d.peak_at, d.peak_probability, d.peak_q10_kw, d.peak_q50_kw,
           d.peak_q90_kw, d.limit_kw, d.limit_probability, d.reserve_kw, peak.kw, peak.at, peak.at = d.peak_at,
           peak.kw > d.limit_kw, came.beyond_median_kw <= d.reserve_kw
    FROM decisions d
    JOIN aggregate_forecasts f ON f.issued_at = d.issued_at AND f.meter = d.meter
        AND coalesce(f.site_id, -1) = coalesce(d.site_id, -1)
    JOIN truths ON truths.site_id = coalesce(d.site_id, -1) AND truths.meter = d.meter
        AND truths.day = date_trunc('day', d.issued_at)
    CROSS JOIN LATERAL (SELECT array_length(f.q50, 1) / 48 AS an_hour) AS steps
    JOIN LATERAL (
        SELECT min(t.place) AS highest, count(*) AS steps,
               max(t.kwh - f.q50[(date_part('epoch', t.at - d.issued_at) * an_hour / 3600)::integer]) * an_hour
                   AS beyond_median_kw
        FROM unnest(truths.at, truths.kwh) WITH ORDINALITY AS t (at, kwh, place)
        WHERE t.at > d.issued_at AND t.at <= d.issued_at + d.window_h * interval '1 hour'
    ) came ON came.steps = d.window_h * an_hour
    CROSS JOIN LATERAL (SELECT truths.kwh[highest] * an_hour AS kw, truths.at[highest] AS at) AS peak
    WHERE d.issued_at BETWEEN first AND last AND f.issued_at BETWEEN first AND last;
END
$$;
REVOKE ALL ON FUNCTION outcomes_of_decisions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION outcomes_of_decisions TO grafana_reader;
COMMENT ON FUNCTION outcomes_of_decisions IS
    'Decisions issued in a span beside what came, where every interval of the window is complete';

-- For few decisions: a condition on it spares the others, and the key of site_totals gives each decision its totals.
CREATE OR REPLACE VIEW decision_outcomes AS
WITH expected AS MATERIALIZED (SELECT * FROM expected_meters)
SELECT d.site_id, d.meter, d.issued_at, d.window_h, d.peak_at, d.peak_probability, d.peak_q10_kw, d.peak_q50_kw,
       d.peak_q90_kw, d.limit_kw, d.limit_probability, d.reserve_kw, came.peak_kw AS true_peak_kw,
       came.peak_at AS true_peak_at, came.peak_at = d.peak_at AS peak_hour_hit,
       came.peak_kw > d.limit_kw AS limit_passed, came.beyond_median_kw <= d.reserve_kw AS reserve_sufficed
FROM decisions d
JOIN aggregate_forecasts f ON f.issued_at = d.issued_at AND f.meter = d.meter
     AND f.site_id IS NOT DISTINCT FROM d.site_id
CROSS JOIN LATERAL (SELECT array_length(f.q50, 1) / 48 AS an_hour) AS steps
JOIN LATERAL (
    SELECT max(t.kwh) * an_hour AS peak_kw,
           (array_agg(t."timestamp" ORDER BY t.kwh DESC, t."timestamp"))[1] AS peak_at,
           max(t.kwh - f.q50[(date_part('epoch', t."timestamp" - d.issued_at) * an_hour / 3600)::integer]) * an_hour
               AS beyond_median_kw,
           count(*) AS steps
    FROM (SELECT "timestamp", energy_kwh::double precision AS kwh, meters_reported AS meters FROM site_totals
          WHERE site_id = d.site_id AND meter = d.meter AND "timestamp" > d.issued_at
            AND "timestamp" <= d.issued_at + d.window_h * interval '1 hour'
          UNION ALL -- site by site (OFFSET 0), as the key begins with it
          SELECT "timestamp", sum(energy_kwh)::double precision, sum(meters_reported)
          FROM sites CROSS JOIN LATERAL (
              SELECT "timestamp", energy_kwh, meters_reported FROM site_totals t
              WHERE t.site_id = sites.site_id AND t.meter = d.meter AND t."timestamp" > d.issued_at
                AND t."timestamp" <= d.issued_at + d.window_h * interval '1 hour' OFFSET 0) AS of_site
          WHERE d.site_id IS NULL GROUP BY "timestamp") t
    JOIN expected e ON e.site_id = coalesce(d.site_id, -1) AND e.meter = d.meter AND e.meters = t.meters
         AND t."timestamp" >= e.since AND t."timestamp" < e.until) came ON came.steps = d.window_h * an_hour;

CREATE OR REPLACE VIEW decision_scores AS
SELECT site_id, meter, window_h, count(*) AS decisions,
       avg(peak_hour_hit::integer) AS peak_hour_hit, avg(peak_probability) AS peak_hour_said,
       avg((peak_probability - peak_hour_hit::integer) ^ 2) AS peak_hour_brier,
       avg((true_peak_kw BETWEEN peak_q10_kw AND peak_q90_kw)::integer) AS peak_coverage_80,
       avg(limit_passed::integer) AS limit_passed, avg(limit_probability) AS limit_said,
       avg((limit_probability - limit_passed::integer) ^ 2) AS limit_brier,
       avg(reserve_sufficed::integer) AS reserve_sufficed
FROM (SELECT max(issued_at) AS newest FROM decisions) AS made
CROSS JOIN LATERAL outcomes_of_decisions(newest - interval '28 days', newest)
WHERE issued_at > newest - interval '28 days'
GROUP BY site_id, meter, window_h ORDER BY site_id NULLS FIRST, meter, window_h;

CREATE OR REPLACE VIEW decision_reliability AS
SELECT event, width_bucket(said, 0, 1.0000001, 10) AS tenth, count(*) AS decisions, avg(said) AS said,
       avg(came::integer) AS came
FROM (SELECT max(issued_at) AS newest FROM decisions) AS made
CROSS JOIN LATERAL outcomes_of_decisions(newest - interval '28 days', newest) CROSS JOIN LATERAL (
    VALUES ('peak hour', peak_probability, peak_hour_hit), ('limit', limit_probability, limit_passed)) AS e (event, said, came)
WHERE said IS NOT NULL AND issued_at > newest - interval '28 days'
GROUP BY event, tenth ORDER BY event, tenth;

-- The days are picked in each branch: from outside, the condition would not get to the partitions and their index.
CREATE OR REPLACE VIEW accuracy_by_lead_time AS
WITH picked AS (
    SELECT period, 'meter' AS level, building_id AS id, meter, lead_h, k, forecasts, covered, energy_kwh,
           absolute_error_kwh, squared_error_kwh2, pinball_kwh, last_reading_error_kwh, previous_day_error_kwh
    FROM scored_periods JOIN scores ON day >= first_day AND day < end_day
    CROSS JOIN unnest(ARRAY[1, 3, 6, 12, 24, 48]) AS lead_h
    CROSS JOIN LATERAL (SELECT lead_h * array_length(forecasts, 1) / 48 AS k) AS place
    UNION ALL
    SELECT period, CASE WHEN site_id IS NULL THEN 'grid' ELSE 'site' END, site_id, meter, lead_h, k, forecasts, covered,
           energy_kwh, absolute_error_kwh, squared_error_kwh2, pinball_kwh, last_reading_error_kwh, previous_day_error_kwh
    FROM scored_periods JOIN aggregate_scores ON day >= first_day AND day < end_day
    CROSS JOIN unnest(ARRAY[1, 3, 6, 12, 24, 48]) AS lead_h
    CROSS JOIN LATERAL (SELECT lead_h * array_length(forecasts, 1) / 48 AS k) AS place
), sums AS (
    SELECT period, level, id, meter, lead_h, sum(forecasts[k]) AS n, sum(covered[k]) AS covered,
           sum(energy_kwh[k]::double precision) AS energy, sum(absolute_error_kwh[k]::double precision) AS absolute,
           sum(squared_error_kwh2[k]::double precision) AS squared, sum(pinball_kwh[k]::double precision) AS pinball,
           sum(last_reading_error_kwh[k]::double precision) AS last, sum(previous_day_error_kwh[k]::double precision) AS before
    FROM picked GROUP BY period, level, id, meter, lead_h
)
SELECT period, level, meter, lead_h, sum(n) AS forecasts,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY sqrt(squared / n) / (energy / n)) FILTER (WHERE energy > 0) AS cvrmse,
       avg(pinball / energy) FILTER (WHERE energy > 0) AS pinball,
       sum(covered)::double precision / sum(n) AS coverage_80,
       1 - sum(absolute) / nullif(sum(last), 0) AS skill_against_last_reading,
       1 - sum(absolute) / nullif(sum(before), 0) AS skill_against_previous_day,
       sum(absolute) / sum(n) AS mean_absolute_error_kwh
FROM sums WHERE n > 0
GROUP BY period, level, meter, lead_h
ORDER BY period DESC, level, meter, lead_h;

RESET ROLE;
INSERT INTO schema_migrations (version) VALUES ('0019_faster_views');
COMMIT;
