-- Two sites, four buildings, three days. A meter counts ten times its building's number plus the hour of the day (kWh);
-- every forecast is 2 kWh too high, and its band holds the truth. Building 3 misses one hour.
SELECT ensure_partitions('2016-09-01', '2016-09-06');

INSERT INTO sites (site_id, time_zone, latitude, longitude, country) VALUES
    (0, 'America/New_York', 40.7, -74, 'US'),
    (1, 'Europe/London', 51.5, -0.1, 'GB');
INSERT INTO buildings (building_id, site_id, primary_use, floor_area_m2, year_built, floor_count) VALUES
    (1, 0, 'Education', 1000, 1990, 3),
    (2, 0, 'Office', 2000, NULL, NULL),
    (3, 1, 'Lodging/residential', 3000, 2001, 5),
    (4, 1, 'Office', 4000, 2010, 8);

CREATE TEMP TABLE metered (building_id integer, meter smallint);
INSERT INTO metered VALUES (1, 0), (2, 0), (3, 0), (4, 0), (4, 1);
CREATE FUNCTION pg_temp.truth_kwh(building_id integer, at timestamptz) RETURNS real LANGUAGE sql IMMUTABLE AS
    $$ SELECT (10 * building_id + extract(hour FROM at AT TIME ZONE 'UTC'))::real $$;

INSERT INTO readings (building_id, meter, "timestamp", meter_reading_kwh, known_at)
SELECT building_id, meter, at, pg_temp.truth_kwh(building_id, at), at + interval '1 hour'
FROM metered, generate_series('2016-09-01Z'::timestamptz, '2016-09-03 23:00Z', '1 hour') AS at
WHERE (building_id, at) <> (3, '2016-09-02 05:00Z');
SELECT rebuild_hourly_totals();

INSERT INTO forecasts (building_id, meter, issued_at, made_at, model, quality, q10, q50, q90)
SELECT building_id, meter, issued_at, issued_at, 'seed', 'full',
       array_agg(truth - 3 ORDER BY lead_h), array_agg(truth + 2 ORDER BY lead_h), array_agg(truth + 4 ORDER BY lead_h)
FROM metered, generate_series('2016-09-01Z'::timestamptz, '2016-09-03 23:00Z', '1 hour') AS issued_at,
     generate_series(1, 48) AS lead_h,
     pg_temp.truth_kwh(building_id, issued_at + lead_h * interval '1 hour') AS truth
GROUP BY building_id, meter, issued_at;

INSERT INTO aggregate_forecasts (site_id, meter, issued_at, made_at, model, meters,
                                 q02, q05, q10, q25, q50, q75, q90, q95, q98)
SELECT site_id, meter, issued_at, issued_at, 'seed', max(meters),
       array_agg(low ORDER BY lead_h), array_agg(low ORDER BY lead_h), array_agg(low ORDER BY lead_h),
       array_agg(median ORDER BY lead_h), array_agg(median ORDER BY lead_h), array_agg(median ORDER BY lead_h),
       array_agg(high ORDER BY lead_h), array_agg(high ORDER BY lead_h), array_agg(high ORDER BY lead_h)
FROM (SELECT site_id, meter, issued_at, lead_h, count(*)::integer AS meters,
             sum(q10[lead_h]) AS low, sum(q50[lead_h]) AS median, sum(q90[lead_h]) AS high
      FROM forecasts JOIN buildings USING (building_id), generate_series(1, 48) AS lead_h
      GROUP BY GROUPING SETS ((site_id, meter, issued_at, lead_h), (meter, issued_at, lead_h))) AS totals
GROUP BY site_id, meter, issued_at;

-- Decisions of the same forecasts: the peak is the day's last hour, two in three sure, its height as forecast.
INSERT INTO decisions (site_id, meter, issued_at, made_at, model, window_h, peak_at, peak_probability,
                       peak_q10_kw, peak_q50_kw, peak_q90_kw, limit_kw, limit_probability, reserve_kw)
SELECT site_id, meter, issued_at, issued_at, 'seed', window_h, peak.at, 0.7, peak.low, peak.median, peak.high,
       CASE WHEN site_id IS NOT NULL AND meter = 0 THEN 80 END, CASE WHEN site_id IS NOT NULL AND meter = 0 THEN 0.9 END, 1
FROM aggregate_forecasts CROSS JOIN unnest(ARRAY[24, 48]) AS window_h
CROSS JOIN LATERAL (SELECT issued_at + k * interval '1 hour' AS at, q10[k] AS low, q50[k] AS median, q90[k] AS high
                    FROM generate_series(1, window_h) AS k ORDER BY q50[k] DESC, k LIMIT 1) AS peak;

INSERT INTO weather (site_id, "timestamp", known_at, source, air_temperature_c)
SELECT site_id, at, at, 'seed', 15 + site_id
FROM sites, generate_series('2016-09-01Z'::timestamptz, '2016-09-03 23:00Z', '1 hour') AS at;

INSERT INTO anomalies (building_id, meter, "timestamp", kind, detected_at, meter_reading_kwh, expected_kwh, score) VALUES
    (1, 0, '2016-09-02 03:00Z', 'outside_interval', '2016-09-02 04:00Z', 99, 13, 12.3),
    (1, 0, '2016-09-02 04:00Z', 'flat_line', '2016-09-02 05:00Z', 99, NULL, 24),
    (3, 0, '2016-09-03 07:00Z', 'outside_interval', '2016-09-03 08:00Z', 0, 37, 5.3);

INSERT INTO consumer_offsets (topic, "partition", next_offset, clock) VALUES
    ('energy_consumption_postgre', 0, 200, '2016-09-03 23:00Z'),
    ('energy_consumption_postgre', 1, 160, '2016-09-03 23:00Z'),
    ('energy_consumption_predictions', 0, 500, NULL);
INSERT INTO dead_letters (topic, "partition", "offset", consumer, reason, payload, noticed_at) VALUES
    ('energy_consumption_postgre', 0, 17, 'postgres-consumer', 'meter_reading: expected float', '\x7b00ff7d', now());
INSERT INTO unknown_buildings (building_id, first_reading) VALUES (77, '2016-09-02 00:00Z');
INSERT INTO data_gaps (topic, "partition", from_offset, to_offset) VALUES ('energy_consumption_postgre', 1, 5, 9);
ANALYZE;
