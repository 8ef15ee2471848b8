-- Forecasts of long ago go, a month's partition at a time; the scores that they left stay, as do readings and weather,
-- the weather that was forecast included: training goes by it, and nobody could get it again.
BEGIN;
SET LOCAL ROLE energy_owner;

ALTER TABLE scoring_state ADD COLUMN dropped_until timestamptz;
COMMENT ON COLUMN scoring_state.dropped_until IS 'Months before this one were dropped from forecasts, aggregate_forecasts and decisions (UTC): what comes for them changes no score';

-- One partition a call, so that nobody waits for more than one lock of one table. That lock is ACCESS EXCLUSIVE, for
-- DETACH as for DROP (CONCURRENTLY works in no function), and whoever comes after it waits as long as it does: not long.
-- Dropped and not only detached: that frees the disk, and ensure_partitions() takes a name that exists for a partition.
CREATE FUNCTION drop_old_forecasts(retention interval) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC' SET lock_timeout = '200ms' AS $$
DECLARE
    horizon timestamptz := date_trunc('month', (SELECT max(issued_at) FROM aggregate_forecasts) - retention);
    child   text;
BEGIN
    IF retention < interval '60 days' THEN
        RAISE EXCEPTION 'forecasts are kept for 60 days at least, not for %', retention
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT c.relname INTO child
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent IN ('forecasts'::regclass, 'aggregate_forecasts'::regclass, 'decisions'::regclass)
      AND c.relname ~ '_\d{4}_\d{2}$' AND c.relname < i.inhparent::regclass || to_char(horizon, '_YYYY_MM')
    ORDER BY right(c.relname, 7), c.relname LIMIT 1;
    IF child IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(hashtext('score_forecasts'));
        EXECUTE format('DROP TABLE %I', child);
        UPDATE scoring_state SET dropped_until = greatest(dropped_until, horizon);
    END IF;
    RETURN child;
END
$$;
REVOKE ALL ON FUNCTION drop_old_forecasts FROM PUBLIC;
GRANT EXECUTE ON FUNCTION drop_old_forecasts TO energy_trainer;
COMMENT ON FUNCTION drop_old_forecasts IS 'Drop the oldest monthly partition of forecasts, aggregate_forecasts and decisions that ends before the newest issue less retention; its name, or null where there is none';

-- As in 0007, but whole days together, and none whose forecasts are not all there any more: summed anew it would be less.
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
        WHERE day >= coalesce(state.dropped_until, '-infinity') + interval '48 hours'
          AND EXISTS (SELECT FROM forecasts f WHERE f.building_id = taken.building_id AND f.meter = taken.meter
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

RESET ROLE;
INSERT INTO schema_migrations (version) VALUES ('0020_forecast_retention');
COMMIT;
