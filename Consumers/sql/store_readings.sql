-- New readings, with the site totals that they add to. What finds its place taken, or stands in the batch more
-- than once with different values, is left to replace_readings.sql.
WITH folded AS (
    SELECT DISTINCT ON (building_id, meter, "timestamp") *
    FROM staged_readings
    ORDER BY building_id, meter, "timestamp", known_at DESC, meter_reading_kwh DESC
), inserted AS (
    INSERT INTO readings (building_id, meter, "timestamp", meter_reading_kwh, known_at)
    SELECT building_id, meter, "timestamp", meter_reading_kwh, known_at FROM folded
    ON CONFLICT (building_id, meter, "timestamp") DO NOTHING
    RETURNING building_id, meter, "timestamp", meter_reading_kwh, known_at
), totalled AS (
    INSERT INTO site_totals AS t (site_id, meter, "timestamp", energy_kwh, meters_reported)
    SELECT b.site_id, i.meter, i."timestamp", sum(i.meter_reading_kwh::numeric), count(*)
    FROM inserted i JOIN buildings b USING (building_id)
    GROUP BY b.site_id, i.meter, i."timestamp"
    ORDER BY b.site_id, i.meter, i."timestamp"
    ON CONFLICT (site_id, meter, "timestamp") DO UPDATE
    SET energy_kwh = t.energy_kwh + excluded.energy_kwh,
        meters_reported = t.meters_reported + excluded.meters_reported
), late AS (
    INSERT INTO rescoring (building_id, meter, day)
    SELECT DISTINCT building_id, meter, date_trunc('day', "timestamp") + later * interval '1 day'
    FROM inserted CROSS JOIN generate_series(0, 2) AS later
    WHERE "timestamp" <= (SELECT closed_until FROM scoring_state)
)
INSERT INTO contested_readings
SELECT building_id, meter, "timestamp", meter_reading_kwh, known_at FROM staged_readings
EXCEPT
SELECT building_id, meter, "timestamp", meter_reading_kwh, known_at FROM inserted;
