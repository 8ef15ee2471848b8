-- Of all versions of a reading the greatest (known_at, value) stays, every other one is kept as a revision, and
-- the site totals follow; so the order of arrival leaves no trace. A version that is stored already is no news.
-- LATERAL with LIMIT: one index look-up each, whatever the planner believes of the temporary table.
WITH newest AS (
    SELECT DISTINCT ON (building_id, meter, "timestamp") *
    FROM contested_readings
    ORDER BY building_id, meter, "timestamp", known_at DESC, meter_reading_kwh DESC
), stored AS (
    SELECT r.*
    FROM newest n
    CROSS JOIN LATERAL (
        SELECT r.building_id, r.meter, r."timestamp", r.meter_reading_kwh, r.known_at FROM readings r
        WHERE r.building_id = n.building_id AND r.meter = n.meter AND r."timestamp" = n."timestamp"
        LIMIT 1) r
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY building_id, meter, "timestamp"
                                 ORDER BY known_at DESC, meter_reading_kwh DESC) AS place
    FROM (SELECT building_id, meter, "timestamp", meter_reading_kwh, known_at FROM contested_readings
          UNION
          SELECT building_id, meter, "timestamp", meter_reading_kwh, known_at FROM stored) versions
), kept AS (
    INSERT INTO reading_revisions (building_id, meter, "timestamp", known_at, meter_reading_kwh)
    SELECT building_id, meter, "timestamp", known_at, meter_reading_kwh FROM ranked WHERE place > 1
    ON CONFLICT DO NOTHING
), replaced AS (
    INSERT INTO readings AS r (building_id, meter, "timestamp", meter_reading_kwh, known_at)
    SELECT building_id, meter, "timestamp", meter_reading_kwh, known_at FROM newest
    ON CONFLICT (building_id, meter, "timestamp") DO UPDATE
    SET meter_reading_kwh = excluded.meter_reading_kwh, known_at = excluded.known_at
    WHERE (r.known_at, r.meter_reading_kwh) < (excluded.known_at, excluded.meter_reading_kwh)
    RETURNING building_id, meter, "timestamp", meter_reading_kwh
), late AS ( -- see store_readings.sql
    INSERT INTO rescoring (building_id, meter, day)
    SELECT DISTINCT building_id, meter, date_trunc('day', "timestamp") + later * interval '1 day'
    FROM replaced CROSS JOIN generate_series(0, 2) AS later
    WHERE "timestamp" <= (SELECT closed_until FROM scoring_state)
)
INSERT INTO site_totals AS t (site_id, meter, "timestamp", energy_kwh, meters_reported)
SELECT b.site_id, r.meter, r."timestamp", sum(r.meter_reading_kwh::numeric - s.meter_reading_kwh::numeric), 0
FROM replaced r JOIN stored s USING (building_id, meter, "timestamp") JOIN buildings b USING (building_id)
GROUP BY b.site_id, r.meter, r."timestamp"
ORDER BY b.site_id, r.meter, r."timestamp"
ON CONFLICT (site_id, meter, "timestamp") DO UPDATE SET energy_kwh = t.energy_kwh + excluded.energy_kwh;
