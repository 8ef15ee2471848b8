-- Totals made anew beside a running consumer; scores made up for day by day; the newest issue without a long search.
BEGIN;
SET LOCAL ROLE energy_owner;

-- The lock: between DELETE and INSERT a consumer may commit an hour, which the INSERT would see and find in its way.
CREATE OR REPLACE FUNCTION rebuild_hourly_totals() RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    LOCK TABLE site_totals IN SHARE ROW EXCLUSIVE MODE;
    DELETE FROM site_totals;
    INSERT INTO site_totals (site_id, meter, "timestamp", energy_kwh, meters_reported)
    SELECT site_id, meter, "timestamp", sum(meter_reading_kwh::numeric), count(*)
    FROM readings JOIN buildings USING (building_id)
    GROUP BY site_id, meter, "timestamp";
    INSERT INTO meters AS m (building_id, meter, first_seen)
    SELECT building_id, meter, min("timestamp") FROM readings GROUP BY building_id, meter
    ON CONFLICT (building_id, meter) DO UPDATE SET first_seen = least(m.first_seen, excluded.first_seen);
    DELETE FROM unknown_buildings WHERE building_id IN (SELECT building_id FROM buildings);
$$;

-- For whole days together: score_totals() sums every day that a run touches.
CREATE INDEX rescoring_day ON rescoring (day);

GRANT SELECT (issued_at) ON aggregate_forecasts TO energy_redis_consumer, energy_predictor;

RESET ROLE;
INSERT INTO schema_migrations (version) VALUES ('0018_totals_and_rescoring');
COMMIT;
