-- Views: what people and panels read.
BEGIN;
SET LOCAL ROLE energy_owner;

CREATE VIEW latest_readings AS
SELECT m.building_id, m.meter, b.site_id, b.primary_use, r."timestamp", r.meter_reading_kwh, r.known_at
FROM meters m
LEFT JOIN buildings b USING (building_id)
JOIN LATERAL (SELECT * FROM readings r
              WHERE r.building_id = m.building_id AND r.meter = m.meter
              ORDER BY "timestamp" DESC LIMIT 1) r ON true;
COMMENT ON VIEW latest_readings IS 'Newest reading of each meter';

CREATE VIEW hourly_site_totals AS
SELECT t.site_id, t.meter, t."timestamp", t.energy_kwh::double precision AS energy_kwh, t.meters_reported,
       (SELECT count(*)::integer FROM meters m JOIN buildings b USING (building_id)
        WHERE b.site_id = t.site_id AND m.meter = t.meter AND m.first_seen <= t."timestamp"
          AND (m.retired_at IS NULL OR m.retired_at > t."timestamp")) AS meters_expected
FROM site_totals t;
COMMENT ON VIEW hourly_site_totals IS 'Energy of each site by meter code and interval; complete where meters_reported = meters_expected';

CREATE VIEW hourly_grid_totals AS
SELECT meter, "timestamp", sum(energy_kwh) AS energy_kwh, sum(meters_reported)::integer AS meters_reported,
       sum(meters_expected)::integer AS meters_expected
FROM hourly_site_totals GROUP BY meter, "timestamp";
COMMENT ON VIEW hourly_grid_totals IS 'Energy of all sites by meter code and interval';

CREATE VIEW reading_versions AS
SELECT building_id, meter, "timestamp", meter_reading_kwh, known_at,
       lead(known_at) OVER (PARTITION BY building_id, meter, "timestamp"
                            ORDER BY known_at, meter_reading_kwh) AS replaced_at
FROM (SELECT building_id, meter, "timestamp", meter_reading_kwh, known_at FROM readings
      UNION ALL
      SELECT building_id, meter, "timestamp", meter_reading_kwh, known_at FROM reading_revisions) versions;
COMMENT ON VIEW reading_versions IS 'Every version of every reading; what was known at T has known_at <= T and replaced_at null or > T';

CREATE VIEW forecast_values AS
SELECT f.building_id, f.meter, f.issued_at, lead.k::integer AS lead_h,
       f.issued_at + lead.k * interval '1 hour' AS "timestamp",
       f.q10[lead.k] AS q10_kwh, f.q50[lead.k] AS q50_kwh, f.q90[lead.k] AS q90_kwh, f.quality, f.model
FROM forecasts f CROSS JOIN LATERAL generate_series(1, array_length(f.q50, 1)) AS lead (k);
COMMENT ON VIEW forecast_values IS 'Forecasts of meters, one row a lead time (hourly meters)';

CREATE VIEW aggregate_forecast_values AS
SELECT f.site_id, f.meter, f.issued_at, lead.k::integer AS lead_h,
       f.issued_at + lead.k * interval '1 hour' AS "timestamp",
       f.q02[lead.k] AS q02_kwh, f.q10[lead.k] AS q10_kwh, f.q50[lead.k] AS q50_kwh,
       f.q90[lead.k] AS q90_kwh, f.q98[lead.k] AS q98_kwh, f.model
FROM aggregate_forecasts f CROSS JOIN LATERAL generate_series(1, array_length(f.q50, 1)) AS lead (k);
COMMENT ON VIEW aggregate_forecast_values IS 'Forecasts of sites and the grid (site_id null), one row a lead time (hourly meters)';

CREATE VIEW forecast_vs_actual AS
SELECT f.building_id, f.meter, f.issued_at, f.lead_h, f."timestamp", r.meter_reading_kwh,
       f.q10_kwh, f.q50_kwh, f.q90_kwh, f.quality
FROM forecast_values f
LEFT JOIN readings r ON r.building_id = f.building_id AND r.meter = f.meter AND r."timestamp" = f."timestamp";
COMMENT ON VIEW forecast_vs_actual IS 'Forecasts of meters with the reading that came true, null while it has not';

-- Scored over the newest 7 days of data, each forecast against its truth and against repeating the newest reading.
CREATE VIEW accuracy_by_lead_time AS
WITH newest AS (SELECT max(clock) AS clock FROM consumer_offsets),
scored AS (
    SELECT lead_h, r.building_id, r.meter, r.meter_reading_kwh AS truth,
           f.q10[lead_h] AS q10, f.q50[lead_h] AS q50, f.q90[lead_h] AS q90, naive.meter_reading_kwh AS naive
    FROM newest
    JOIN readings r ON r."timestamp" > newest.clock - interval '7 days'
    CROSS JOIN unnest(ARRAY[1, 3, 6, 12, 24, 48]) AS lead_h
    JOIN LATERAL (SELECT * FROM forecasts f
                  WHERE f.building_id = r.building_id AND f.meter = r.meter
                    AND f.issued_at = r."timestamp" - lead_h * interval '1 hour' LIMIT 1) f ON true
    LEFT JOIN LATERAL (SELECT * FROM readings n
                  WHERE n.building_id = r.building_id AND n.meter = r.meter
                    AND n."timestamp" = r."timestamp" - lead_h * interval '1 hour' LIMIT 1) naive ON true)
SELECT lead_h, count(*) AS forecasts,
       avg(abs(truth - q50)) AS mean_absolute_error_kwh,
       sqrt(avg((truth - q50) ^ 2)) / nullif(avg(truth), 0) AS cvrmse,
       avg((truth BETWEEN q10 AND q90)::integer) AS coverage_80,
       1 - avg(abs(truth - q50)) FILTER (WHERE naive IS NOT NULL)
           / nullif(avg(abs(truth - naive)), 0) AS skill_against_last_reading
FROM scored GROUP BY lead_h ORDER BY lead_h;
COMMENT ON VIEW accuracy_by_lead_time IS 'How good the forecasts of the newest 7 days were, all meters (hourly meters)';

CREATE VIEW pipeline_status AS
SELECT (SELECT min(clock) FROM consumer_offsets WHERE clock IS NOT NULL) AS stored_until,
       (SELECT max(issued_at) FROM aggregate_forecasts) AS forecast_until,
       (SELECT count(*) FROM meters) AS meters,
       (SELECT count(*) FROM dead_letters) AS dead_letters,
       (SELECT count(*) FROM unknown_buildings) AS unknown_buildings,
       (SELECT count(*) FROM data_gaps) AS data_gaps;
COMMENT ON VIEW pipeline_status IS 'How far the pipeline has come, and what went wrong, in one row';

RESET ROLE;
INSERT INTO schema_migrations (version) VALUES ('0003_views');
COMMIT;
