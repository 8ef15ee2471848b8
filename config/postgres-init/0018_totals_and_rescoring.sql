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

-- Whole days together: score_totals() sums every day that a run touches.
CREATE INDEX rescoring_day ON rescoring (day);

CREATE OR REPLACE FUNCTION score_forecasts(step interval, grace interval, most_days integer DEFAULT 2000) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    state         scoring_state;
    due_buildings integer[];
    due_meters    smallint[];
    due_days      timestamptz[];
    touched       timestamptz[];
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('score_forecasts'));
    SELECT * INTO state FROM scoring_state;
    IF state.closed_until IS NULL THEN
        RETURN false;
    END IF;
    WITH taken AS (
        DELETE FROM rescoring WHERE ctid = ANY (ARRAY(SELECT ctid FROM rescoring ORDER BY day LIMIT most_days))
        RETURNING building_id, meter, day
    ), known AS ( -- where the forecasts were dropped, the scores that they left stay
        SELECT DISTINCT building_id, meter, day FROM taken
        WHERE EXISTS (SELECT FROM forecasts f WHERE f.building_id = taken.building_id AND f.meter = taken.meter
                      AND f.issued_at >= taken.day - interval '48 hours' AND f.issued_at < taken.day + interval '1 day')
    )
    SELECT coalesce(array_agg(building_id), '{}'), coalesce(array_agg(meter), '{}'), coalesce(array_agg(day), '{}')
    INTO due_buildings, due_meters, due_days FROM known;
    IF state.scored_until >= state.closed_until AND due_days = '{}' THEN
        RETURN EXISTS (SELECT FROM rescoring);
    END IF;
    touched := ARRAY(SELECT unnest(due_days) UNION
                     SELECT generate_series(date_trunc('day', state.scored_until + step), state.closed_until, interval '1 day'));
    PERFORM ensure_partitions(min(day), max(day)) FROM unnest(touched) AS day;
    PERFORM score_meters(state.scored_until, state.closed_until, step, grace, due_buildings, due_meters, due_days);
    PERFORM score_totals(touched, state.closed_until, step);
    UPDATE scoring_state SET scored_until = closed_until;
    RETURN true;
END
$$;

GRANT SELECT (issued_at) ON aggregate_forecasts TO energy_redis_consumer, energy_predictor;

RESET ROLE;
INSERT INTO schema_migrations (version) VALUES ('0018_totals_and_rescoring');
COMMIT;
