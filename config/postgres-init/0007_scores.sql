-- Self-scoring: what was forecast against what came, as sums by day of the target and lead time.
--
-- An interval is closed for scoring once the warehouse holds it and every forecast that could know what came before.
-- Closed intervals are added to the sums once, by a watermark. Readings and forecasts that come for a closed interval
-- afterwards (late, corrected) are noted by the statements that store them, in their own transaction, and the meter's
-- day is then summed anew: the result is that of an orderly arrival.
BEGIN;
SET LOCAL ROLE energy_owner;

DROP VIEW accuracy_by_lead_time;
DROP TABLE scores;

CREATE TABLE scores (
    building_id             integer NOT NULL,
    meter                   smallint NOT NULL,
    day                     timestamptz NOT NULL,
    quality                 text NOT NULL,
    forecasts               smallint[] NOT NULL,
    covered                 smallint[] NOT NULL,
    energy_kwh              real[] NOT NULL,
    absolute_error_kwh      real[] NOT NULL,
    squared_error_kwh2      real[] NOT NULL,
    pinball_kwh             real[] NOT NULL,
    last_reading_error_kwh  real[] NOT NULL,
    previous_day_error_kwh  real[] NOT NULL,
    PRIMARY KEY (building_id, meter, day, quality)
) PARTITION BY RANGE (day);
CREATE INDEX scores_day ON scores (day);
COMMENT ON TABLE scores IS 'How good the forecasts of meters were: sums by day of the target; element k of each array is for the interval that starts k steps after issued_at; score_values has one row a lead time';
COMMENT ON COLUMN scores.building_id IS 'Building';
COMMENT ON COLUMN scores.meter IS '0 electricity, 1 chilled water, 2 steam, 3 hot water';
COMMENT ON COLUMN scores.day IS 'Midnight that starts the day of the targets (UTC)';
COMMENT ON COLUMN scores.quality IS 'Step of the fallback ladder that made the forecasts';
COMMENT ON COLUMN scores.forecasts IS 'Number of forecasts that met their truth, by lead time';
COMMENT ON COLUMN scores.covered IS 'Number of truths inside the 80 % interval, by lead time';
COMMENT ON COLUMN scores.energy_kwh IS 'Sum of the truths, by lead time (kWh)';
COMMENT ON COLUMN scores.absolute_error_kwh IS 'Sum of the median''s absolute errors, by lead time (kWh)';
COMMENT ON COLUMN scores.squared_error_kwh2 IS 'Sum of the median''s squared errors, by lead time (kWh²)';
COMMENT ON COLUMN scores.pinball_kwh IS 'Sum of the pinball loss, mean of the 10, 50 and 90 % quantile, by lead time (kWh)';
COMMENT ON COLUMN scores.last_reading_error_kwh IS 'Sum of the absolute errors of repeating the last reading known at issue, by lead time (kWh); the median''s own error where there was none';
COMMENT ON COLUMN scores.previous_day_error_kwh IS 'Sum of the absolute errors of repeating the newest known day''s same hour, by lead time (kWh); the median''s own error where there was none';

CREATE TABLE aggregate_scores (
    site_id                 integer,
    meter                   smallint NOT NULL,
    day                     timestamptz NOT NULL,
    forecasts               smallint[] NOT NULL,
    covered                 smallint[] NOT NULL,
    energy_kwh              real[] NOT NULL,
    absolute_error_kwh      real[] NOT NULL,
    squared_error_kwh2      real[] NOT NULL,
    pinball_kwh             real[] NOT NULL,
    last_reading_error_kwh  real[] NOT NULL,
    previous_day_error_kwh  real[] NOT NULL,
    UNIQUE NULLS NOT DISTINCT (site_id, meter, day)
) PARTITION BY RANGE (day);
CREATE INDEX aggregate_scores_day ON aggregate_scores (day);
COMMENT ON TABLE aggregate_scores IS 'How good the forecasts of site and grid totals were, same shape as scores; only complete totals are truth, of as many meters as were forecast';
COMMENT ON COLUMN aggregate_scores.site_id IS 'Site, or null for the whole grid';
COMMENT ON COLUMN aggregate_scores.meter IS '0 electricity, 1 chilled water, 2 steam, 3 hot water';
COMMENT ON COLUMN aggregate_scores.day IS 'Midnight that starts the day of the targets (UTC)';
COMMENT ON COLUMN aggregate_scores.forecasts IS 'Number of forecasts that met their truth, by lead time';
COMMENT ON COLUMN aggregate_scores.covered IS 'Number of truths inside the 80 % interval, by lead time';
COMMENT ON COLUMN aggregate_scores.energy_kwh IS 'Sum of the truths, by lead time (kWh)';
COMMENT ON COLUMN aggregate_scores.absolute_error_kwh IS 'Sum of the median''s absolute errors, by lead time (kWh)';
COMMENT ON COLUMN aggregate_scores.squared_error_kwh2 IS 'Sum of the median''s squared errors, by lead time (kWh²)';
COMMENT ON COLUMN aggregate_scores.pinball_kwh IS 'Sum of the pinball loss, mean of the nine quantiles, by lead time (kWh)';
COMMENT ON COLUMN aggregate_scores.last_reading_error_kwh IS 'Sum of the absolute errors of repeating the total of the interval issued_at, by lead time (kWh); the median''s own error where it is not complete';
COMMENT ON COLUMN aggregate_scores.previous_day_error_kwh IS 'Sum of the absolute errors of repeating the newest known day''s same hour, by lead time (kWh); the median''s own error where it is not complete';

CREATE TABLE scoring_state (
    single       boolean PRIMARY KEY DEFAULT true CHECK (single),
    closed_until timestamptz,
    scored_until timestamptz
);
INSERT INTO scoring_state DEFAULT VALUES;
COMMENT ON TABLE scoring_state IS 'How far scoring has come; one row. Reading it holds up close_scoring() until the end of the transaction';
COMMENT ON COLUMN scoring_state.single IS 'Always true: there is one row';
COMMENT ON COLUMN scoring_state.closed_until IS 'Newest interval that is being scored or was (UTC): what is stored up to it from now on has to be noted in rescoring';
COMMENT ON COLUMN scoring_state.scored_until IS 'Newest interval whose forecasts are in the sums (UTC)';

CREATE TABLE rescoring (
    building_id integer NOT NULL,
    meter       smallint NOT NULL,
    day         timestamptz NOT NULL
);
COMMENT ON TABLE rescoring IS 'Days of meters to be summed anew, because something came late or was corrected; may hold one twice';
COMMENT ON COLUMN rescoring.building_id IS 'Building';
COMMENT ON COLUMN rescoring.meter IS '0 electricity, 1 chilled water, 2 steam, 3 hot water';
COMMENT ON COLUMN rescoring.day IS 'Midnight that starts the day of the targets (UTC)';

-- Partitions for what this database holds already.
SELECT ensure_partitions(min(issued_at), max(issued_at) + interval '48 hours') FROM aggregate_forecasts HAVING count(*) > 0;

CREATE FUNCTION pinball(level double precision, error double precision) RETURNS double precision
    LANGUAGE sql IMMUTABLE AS $$ SELECT greatest(level * error, (level - 1) * error) $$;
COMMENT ON FUNCTION pinball IS 'Pinball loss of a quantile that the truth exceeds by error';

-- The value that was known at a time of the newest interval up to another, at most a week older.
CREATE FUNCTION reading_known(of_building integer, of_meter smallint, at timestamptz, known timestamptz)
    RETURNS double precision LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT meter_reading_kwh
    FROM ((SELECT "timestamp", known_at, meter_reading_kwh FROM readings
           WHERE building_id = of_building AND meter = of_meter
             AND "timestamp" > at - interval '7 days' AND "timestamp" <= at AND known_at <= known
           ORDER BY "timestamp" DESC LIMIT 1)
          UNION ALL
          (SELECT "timestamp", known_at, meter_reading_kwh FROM reading_revisions
           WHERE building_id = of_building AND meter = of_meter
             AND "timestamp" > at - interval '7 days' AND "timestamp" <= at AND known_at <= known
           ORDER BY "timestamp" DESC, known_at DESC, meter_reading_kwh DESC LIMIT 1)) versions
    ORDER BY "timestamp" DESC, known_at DESC, meter_reading_kwh DESC LIMIT 1
$$;
REVOKE ALL ON FUNCTION reading_known FROM PUBLIC;
COMMENT ON FUNCTION reading_known IS 'Value (kWh) that was known of the newest interval up to a time, at most a week older';

-- First half of a run. Alone with the table for a moment: whoever stores something and has not read the new mark has
-- committed by then, and is seen by score_forecasts(); everybody else notes what comes for a closed interval.
CREATE FUNCTION close_scoring() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    first_issue  timestamptz := (SELECT min(issued_at) FROM aggregate_forecasts);
    newest_issue timestamptz := (SELECT max(issued_at) FROM aggregate_forecasts);
    stored       timestamptz := (SELECT min(clock) FROM consumer_offsets WHERE clock IS NOT NULL);
BEGIN
    LOCK TABLE scoring_state IN ACCESS EXCLUSIVE MODE;
    UPDATE scoring_state
    SET scored_until = coalesce(scored_until, first_issue),
        closed_until = greatest(closed_until, least(stored, newest_issue,
                                                    coalesce(scored_until, first_issue) + interval '1 day'))
    WHERE stored IS NOT NULL AND first_issue IS NOT NULL;
END
$$;
REVOKE ALL ON FUNCTION close_scoring FROM PUBLIC;
COMMENT ON FUNCTION close_scoring IS 'Close the next intervals for scoring, a day at most; to be committed before score_forecasts() is called';

-- Sums of meters: the forecasts of closed intervals in (after, until], and whole days of those meters that are due.
-- Hash joins (the planner takes intermediate results for small), but look-ups for days that are due: OFFSET 0 keeps those.
CREATE FUNCTION score_meters(after timestamptz, until timestamptz, step interval, grace interval,
                             due_buildings integer[], due_meters smallint[], due_days timestamptz[]) RETURNS void
    LANGUAGE plpgsql SET search_path = public, pg_temp SET timezone = 'UTC'
    SET plan_cache_mode = force_custom_plan SET enable_nestloop = off SET enable_mergejoin = off SET work_mem = '64MB' AS $$
DECLARE
    leads integer := extract(epoch FROM interval '48 hours') / extract(epoch FROM step);
BEGIN
    DELETE FROM scores s USING unnest(due_buildings, due_meters, due_days) AS due (building_id, meter, day)
    WHERE s.building_id = due.building_id AND s.meter = due.meter AND s.day = due.day;

    WITH due AS MATERIALIZED (
        SELECT * FROM unnest(due_buildings, due_meters, due_days) AS due (building_id, meter, day)
    ), recent AS MATERIALIZED (
        SELECT building_id, meter, "timestamp", meter_reading_kwh AS kwh, known_at FROM readings
        WHERE "timestamp" > after - interval '48 hours' AND "timestamp" <= until
        UNION
        SELECT r.* FROM due
        CROSS JOIN LATERAL (
            SELECT building_id, meter, "timestamp", meter_reading_kwh, known_at FROM readings r
            WHERE r.building_id = due.building_id AND r.meter = due.meter AND r."timestamp" <= until
              AND r."timestamp" >= due.day - interval '48 hours' AND r."timestamp" < due.day + interval '1 day' OFFSET 0) r
    ), truths AS MATERIALIZED ( -- with the same hour of the two days before; part: the day that is due, or none
        SELECT t.building_id, t.meter, t."timestamp", t.kwh, one.kwh AS one_kwh, one.known_at AS one_known,
               two.kwh AS two_kwh, two.known_at AS two_known, coalesce(due.day, '-infinity') AS part
        FROM recent t
        LEFT JOIN due ON due.building_id = t.building_id AND due.meter = t.meter AND due.day = date_trunc('day', t."timestamp")
        LEFT JOIN recent one ON one.building_id = t.building_id AND one.meter = t.meter
            AND one."timestamp" = t."timestamp" - interval '1 day'
        LEFT JOIN recent two ON two.building_id = t.building_id AND two.meter = t.meter
            AND two."timestamp" = t."timestamp" - interval '2 days'
        WHERE t."timestamp" > after OR due.day IS NOT NULL
    ), issued AS (
        SELECT building_id, meter, issued_at, quality, q10, q50, q90, '-infinity'::timestamptz AS part FROM forecasts
        WHERE issued_at > after - interval '49 hours' AND issued_at < until AND after < until
        UNION ALL
        SELECT f.*, due.day FROM due
        CROSS JOIN LATERAL (
            SELECT building_id, meter, issued_at, quality, q10, q50, q90 FROM forecasts f
            WHERE f.building_id = due.building_id AND f.meter = due.meter
              AND f.issued_at >= due.day - interval '48 hours' AND f.issued_at < due.day + interval '1 day' OFFSET 0) f
    ), met AS ( -- with the newest reading
        SELECT f.*, t."timestamp", t.kwh, t.one_kwh, t.one_known, t.two_kwh, t.two_known, n.kwh AS newest_kwh,
               n.known_at AS newest_known
        FROM issued f
        JOIN truths t USING (building_id, meter, part)
        LEFT JOIN recent n ON n.building_id = f.building_id AND n.meter = f.meter AND n."timestamp" = f.issued_at
        WHERE f.issued_at < t."timestamp" AND f.issued_at >= t."timestamp" - interval '48 hours'
    ), timed AS (
        SELECT *, (date_part('epoch', "timestamp" - issued_at) / date_part('epoch', step))::integer AS k,
               issued_at + step + grace AS known, "timestamp" <= issued_at + interval '1 day' AS within_a_day
        FROM met
    ), errors AS (
        SELECT building_id, meter, date_trunc('day', "timestamp") AS day, quality, k, kwh,
               kwh - q10[k] AS low, kwh - q50[k] AS middle, kwh - q90[k] AS high,
               kwh - CASE WHEN newest_known <= known THEN newest_kwh
                     ELSE reading_known(building_id, meter, issued_at, known) END AS newest,
               kwh - CASE WHEN within_a_day AND one_known <= known THEN one_kwh
                          WHEN NOT within_a_day AND two_known <= known THEN two_kwh
                          WHEN within_a_day THEN reading_known(building_id, meter, "timestamp" - interval '1 day', known)
                          ELSE reading_known(building_id, meter, "timestamp" - interval '2 days', known) END AS before
        FROM timed
    ), parts AS (
        SELECT building_id, meter, day, quality, k, 1 AS forecasts, (low >= 0 AND high <= 0)::integer AS covered, kwh,
               abs(middle) AS absolute, middle * middle AS squared,
               (pinball(0.1, low) + pinball(0.5, middle) + pinball(0.9, high)) / 3 AS pinball,
               abs(coalesce(newest, middle)) AS newest, abs(coalesce(before, middle)) AS before
        FROM errors
        UNION ALL
        SELECT building_id, meter, day, quality, k, 0, 0, 0, 0, 0, 0, 0, 0
        FROM (SELECT DISTINCT building_id, meter, day, quality FROM errors) days, generate_series(1, leads) k
        UNION ALL
        SELECT s.building_id, s.meter, s.day, s.quality, old.*
        FROM (SELECT DISTINCT building_id, meter, day, quality FROM errors) days
        JOIN scores s USING (building_id, meter, day, quality)
        CROSS JOIN LATERAL (
            SELECT k, n, covered, energy, absolute, squared, pinball, newest, before
            FROM unnest(s.forecasts, s.covered, s.energy_kwh, s.absolute_error_kwh, s.squared_error_kwh2, s.pinball_kwh,
                        s.last_reading_error_kwh, s.previous_day_error_kwh) WITH ORDINALITY
                 AS old (n, covered, energy, absolute, squared, pinball, newest, before, k)) old
    ), sums AS (
        SELECT building_id, meter, day, quality, k, sum(forecasts) AS forecasts, sum(covered) AS covered,
               sum(kwh) AS kwh, sum(absolute) AS absolute, sum(squared) AS squared, sum(pinball) AS pinball,
               sum(newest) AS newest, sum(before) AS before
        FROM parts GROUP BY building_id, meter, day, quality, k
    )
    INSERT INTO scores
    SELECT building_id, meter, day, quality, array_agg(forecasts ORDER BY k), array_agg(covered ORDER BY k),
           array_agg(kwh ORDER BY k), array_agg(absolute ORDER BY k), array_agg(squared ORDER BY k),
           array_agg(pinball ORDER BY k), array_agg(newest ORDER BY k), array_agg(before ORDER BY k)
    FROM sums GROUP BY building_id, meter, day, quality
    ON CONFLICT (building_id, meter, day, quality) DO UPDATE
    SET forecasts = excluded.forecasts, covered = excluded.covered, energy_kwh = excluded.energy_kwh,
        absolute_error_kwh = excluded.absolute_error_kwh, squared_error_kwh2 = excluded.squared_error_kwh2,
        pinball_kwh = excluded.pinball_kwh, last_reading_error_kwh = excluded.last_reading_error_kwh,
        previous_day_error_kwh = excluded.previous_day_error_kwh;
END
$$;
REVOKE ALL ON FUNCTION score_meters FROM PUBLIC;
COMMENT ON FUNCTION score_meters IS 'Add the forecasts of newly closed intervals to scores, and sum days that are due anew';

-- Sums of totals: whole days anew, as there are few. Only complete totals count, of as many meters as were forecast.
CREATE FUNCTION score_totals(days timestamptz[], until timestamptz, step interval) RETURNS void
    LANGUAGE plpgsql SET search_path = public, pg_temp SET timezone = 'UTC'
    SET plan_cache_mode = force_custom_plan SET enable_nestloop = off SET enable_mergejoin = off SET work_mem = '64MB' AS $$
DECLARE
    leads integer := extract(epoch FROM interval '48 hours') / extract(epoch FROM step);
    today timestamptz;
BEGIN
    FOREACH today IN ARRAY days LOOP
        DELETE FROM aggregate_scores WHERE day = today;

        WITH reported AS MATERIALIZED (
            SELECT site_id, meter, "timestamp", energy_kwh, meters_reported FROM site_totals
            WHERE "timestamp" >= today - interval '48 hours' AND "timestamp" < today + interval '1 day'
              AND "timestamp" <= until
        ), expected AS MATERIALIZED (
            SELECT b.site_id, m.meter, h."timestamp", count(*) AS meters
            FROM meters m JOIN buildings b USING (building_id)
            JOIN (SELECT DISTINCT "timestamp" FROM reported) h
                ON m.first_seen <= h."timestamp" AND (m.retired_at IS NULL OR m.retired_at > h."timestamp")
            GROUP BY b.site_id, m.meter, h."timestamp"
        ), truths AS MATERIALIZED ( -- the grid is site -1 in here, so that it can be joined
            SELECT site_id, meter, "timestamp", energy_kwh::double precision AS kwh, meters_reported AS meters
            FROM reported JOIN expected USING (site_id, meter, "timestamp") WHERE meters_reported = meters
            UNION ALL
            SELECT -1, meter, "timestamp", sum(energy_kwh)::double precision, sum(meters_reported)
            FROM expected LEFT JOIN reported USING (site_id, meter, "timestamp")
            GROUP BY meter, "timestamp" HAVING sum(meters_reported) = sum(meters)
        ), issued AS (
            SELECT coalesce(f.site_id, -1) AS site_id, f.meter, f.issued_at, f.meters, f.q02, f.q05, f.q10, f.q25, f.q50, f.q75,
                   f.q90, f.q95, f.q98, n.kwh AS newest
            FROM aggregate_forecasts f
            LEFT JOIN truths n ON n.site_id = coalesce(f.site_id, -1) AND n.meter = f.meter AND n."timestamp" = f.issued_at
            WHERE f.issued_at >= today - interval '48 hours' AND f.issued_at < today + interval '1 day'
        ), met AS (
            SELECT f.*, t.kwh, (date_part('epoch', t."timestamp" - issued_at) / date_part('epoch', step))::integer AS k,
                   CASE WHEN t."timestamp" <= issued_at + interval '1 day' THEN one.kwh ELSE two.kwh END AS before
            FROM issued f JOIN truths t USING (site_id, meter, meters)
            LEFT JOIN truths one ON one.site_id = t.site_id AND one.meter = t.meter
                AND one."timestamp" = t."timestamp" - interval '1 day'
            LEFT JOIN truths two ON two.site_id = t.site_id AND two.meter = t.meter
                AND two."timestamp" = t."timestamp" - interval '2 days'
            WHERE t."timestamp" >= today AND issued_at < t."timestamp" AND issued_at >= t."timestamp" - interval '48 hours'
        ), parts AS (
            SELECT site_id, meter, k, 1 AS forecasts, (kwh BETWEEN q10[k] AND q90[k])::integer AS covered, kwh,
                   abs(kwh - q50[k]) AS absolute, (kwh - q50[k]) ^ 2 AS squared,
                   (pinball(0.02, kwh - q02[k]) + pinball(0.05, kwh - q05[k]) + pinball(0.10, kwh - q10[k])
                    + pinball(0.25, kwh - q25[k]) + pinball(0.50, kwh - q50[k]) + pinball(0.75, kwh - q75[k])
                    + pinball(0.90, kwh - q90[k]) + pinball(0.95, kwh - q95[k]) + pinball(0.98, kwh - q98[k])) / 9 AS pinball,
                   abs(kwh - coalesce(newest, q50[k])) AS newest, abs(kwh - coalesce(before, q50[k])) AS before
            FROM met
            UNION ALL
            SELECT site_id, meter, k, 0, 0, 0, 0, 0, 0, 0, 0
            FROM (SELECT DISTINCT site_id, meter FROM met) totals, generate_series(1, leads) k
        ), sums AS (
            SELECT site_id, meter, k, sum(forecasts) AS forecasts, sum(covered) AS covered, sum(kwh) AS kwh,
                   sum(absolute) AS absolute, sum(squared) AS squared, sum(pinball) AS pinball, sum(newest) AS newest,
                   sum(before) AS before
            FROM parts GROUP BY site_id, meter, k
        )
        INSERT INTO aggregate_scores
        SELECT nullif(site_id, -1), meter, today, array_agg(forecasts ORDER BY k), array_agg(covered ORDER BY k),
               array_agg(kwh ORDER BY k), array_agg(absolute ORDER BY k), array_agg(squared ORDER BY k),
               array_agg(pinball ORDER BY k), array_agg(newest ORDER BY k), array_agg(before ORDER BY k)
        FROM sums GROUP BY site_id, meter;
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION score_totals FROM PUBLIC;
COMMENT ON FUNCTION score_totals IS 'Sum the scores of site and grid totals of whole days anew';

CREATE FUNCTION score_forecasts(step interval, grace interval, most_days integer DEFAULT 2000) RETURNS boolean
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
        DELETE FROM rescoring WHERE ctid = ANY (ARRAY(SELECT ctid FROM rescoring LIMIT most_days))
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
REVOKE ALL ON FUNCTION score_forecasts FROM PUBLIC;
COMMENT ON FUNCTION score_forecasts IS 'Second half of a scoring run; whether there may be more to do';

-- Views: sums by lead time, and what they say of yesterday and of the newest seven days (days of event time, UTC).
CREATE VIEW score_values AS
SELECT s.building_id, s.meter, s.day, s.quality, (v.k * 48.0 / array_length(s.forecasts, 1))::real AS lead_h, v.forecasts, v.covered,
       v.energy_kwh, v.absolute_error_kwh, v.squared_error_kwh2, v.pinball_kwh, v.last_reading_error_kwh, v.previous_day_error_kwh
FROM scores s CROSS JOIN LATERAL unnest(
    s.forecasts, s.covered, s.energy_kwh, s.absolute_error_kwh, s.squared_error_kwh2, s.pinball_kwh,
    s.last_reading_error_kwh, s.previous_day_error_kwh) WITH ORDINALITY AS v (
    forecasts, covered, energy_kwh, absolute_error_kwh, squared_error_kwh2, pinball_kwh, last_reading_error_kwh,
    previous_day_error_kwh, k);
COMMENT ON VIEW score_values IS 'Scores of meters, one row a lead time';

CREATE VIEW aggregate_score_values AS
SELECT s.site_id, s.meter, s.day, (v.k * 48.0 / array_length(s.forecasts, 1))::real AS lead_h, v.forecasts, v.covered,
       v.energy_kwh, v.absolute_error_kwh, v.squared_error_kwh2, v.pinball_kwh, v.last_reading_error_kwh, v.previous_day_error_kwh
FROM aggregate_scores s CROSS JOIN LATERAL unnest(
    s.forecasts, s.covered, s.energy_kwh, s.absolute_error_kwh, s.squared_error_kwh2, s.pinball_kwh,
    s.last_reading_error_kwh, s.previous_day_error_kwh) WITH ORDINALITY AS v (
    forecasts, covered, energy_kwh, absolute_error_kwh, squared_error_kwh2, pinball_kwh, last_reading_error_kwh,
    previous_day_error_kwh, k);
COMMENT ON VIEW aggregate_score_values IS 'Scores of sites and the grid (site_id null), one row a lead time';

CREATE VIEW scored_periods AS
SELECT period, newest - days * interval '1 day' AS first_day, newest AS end_day
FROM (SELECT max(day) AS newest FROM aggregate_scores) scored, (VALUES ('yesterday', 1), ('7 days', 7)) AS v (period, days);
COMMENT ON VIEW scored_periods IS 'The day before the newest scored one, and the seven before it: [first_day, end_day), UTC';

CREATE VIEW accuracy_by_lead_time AS
WITH picked AS (
    SELECT 'meter' AS level, building_id AS id, meter, day, lead_h, k, forecasts, covered, energy_kwh, absolute_error_kwh,
           squared_error_kwh2, pinball_kwh, last_reading_error_kwh, previous_day_error_kwh
    FROM scores CROSS JOIN unnest(ARRAY[1, 3, 6, 12, 24, 48]) AS lead_h
    CROSS JOIN LATERAL (SELECT lead_h * array_length(forecasts, 1) / 48 AS k) AS place
    UNION ALL
    SELECT CASE WHEN site_id IS NULL THEN 'grid' ELSE 'site' END, site_id, meter, day, lead_h, k, forecasts, covered, energy_kwh,
           absolute_error_kwh, squared_error_kwh2, pinball_kwh, last_reading_error_kwh, previous_day_error_kwh
    FROM aggregate_scores CROSS JOIN unnest(ARRAY[1, 3, 6, 12, 24, 48]) AS lead_h
    CROSS JOIN LATERAL (SELECT lead_h * array_length(forecasts, 1) / 48 AS k) AS place
), sums AS (
    SELECT period, level, id, meter, lead_h, sum(forecasts[k]) AS n, sum(covered[k]) AS covered,
           sum(energy_kwh[k]::double precision) AS energy, sum(absolute_error_kwh[k]::double precision) AS absolute,
           sum(squared_error_kwh2[k]::double precision) AS squared, sum(pinball_kwh[k]::double precision) AS pinball,
           sum(last_reading_error_kwh[k]::double precision) AS last, sum(previous_day_error_kwh[k]::double precision) AS before
    FROM scored_periods JOIN picked ON day >= first_day AND day < end_day
    GROUP BY period, level, id, meter, lead_h
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
COMMENT ON VIEW accuracy_by_lead_time IS 'How good forecasts were, yesterday and in the newest 7 days, by level and meter code: median CVRMSE and mean pinball loss (both over the mean load), coverage of the 80 % interval, skill against naive forecasts';

CREATE VIEW accuracy_by_building AS
WITH sums AS (
    SELECT period, building_id, meter, sum(n) AS n, sum(c) AS covered, sum(e::double precision) AS energy,
           sum(a::double precision) AS absolute, sum(q::double precision) AS squared, sum(p::double precision) AS pinball,
           sum(l::double precision) AS last, sum(d::double precision) AS before,
           sum(n) FILTER (WHERE quality IN ('full', 'no_weather')) AS modelled
    FROM scored_periods JOIN scores ON day >= first_day AND day < end_day
    CROSS JOIN LATERAL unnest(forecasts, covered, energy_kwh, absolute_error_kwh, squared_error_kwh2, pinball_kwh,
                              last_reading_error_kwh, previous_day_error_kwh) AS v (n, c, e, a, q, p, l, d)
    GROUP BY period, building_id, meter
)
SELECT period, site_id, building_id, meter, n AS forecasts, sqrt(squared / n) / nullif(energy / n, 0) AS cvrmse,
       pinball / nullif(energy, 0) AS pinball, covered::double precision / n AS coverage_80,
       1 - absolute / nullif(last, 0) AS skill_against_last_reading,
       1 - absolute / nullif(before, 0) AS skill_against_previous_day,
       absolute / n AS mean_absolute_error_kwh, coalesce(modelled, 0)::double precision / n AS modelled
FROM sums LEFT JOIN buildings USING (building_id) WHERE n > 0
ORDER BY period DESC, building_id, meter;
COMMENT ON VIEW accuracy_by_building IS 'How good the forecasts of each meter were, all lead times together; modelled is the share that the model made, the rest came from the fallback ladder';

CREATE VIEW accuracy_by_quality AS
WITH sums AS (
    SELECT period, quality, lead_h, sum(forecasts) AS n, sum(covered) AS covered, sum(energy_kwh::double precision) AS energy,
           sum(absolute_error_kwh::double precision) AS absolute, sum(pinball_kwh::double precision) AS pinball,
           sum(last_reading_error_kwh::double precision) AS last, sum(previous_day_error_kwh::double precision) AS before
    FROM scored_periods JOIN score_values ON day >= first_day AND day < end_day
    WHERE lead_h IN (1, 3, 6, 12, 24, 48)
    GROUP BY period, quality, lead_h
)
SELECT period, quality, lead_h, n AS forecasts, pinball / nullif(energy, 0) AS pinball,
       covered::double precision / n AS coverage_80, 1 - absolute / nullif(last, 0) AS skill_against_last_reading,
       1 - absolute / nullif(before, 0) AS skill_against_previous_day
FROM sums WHERE n > 0
ORDER BY period DESC, quality, lead_h;
COMMENT ON VIEW accuracy_by_quality IS 'How good each step of the fallback ladder was, all meters together';

-- A site of which nothing was reported counts as incomplete, too.
CREATE OR REPLACE VIEW hourly_grid_totals AS
SELECT t.meter, t."timestamp", sum(t.energy_kwh)::double precision AS energy_kwh,
       sum(t.meters_reported)::integer AS meters_reported,
       (SELECT count(*)::integer FROM meters m JOIN buildings b USING (building_id)
        WHERE m.meter = t.meter AND m.first_seen <= t."timestamp"
          AND (m.retired_at IS NULL OR m.retired_at > t."timestamp")) AS meters_expected
FROM site_totals t GROUP BY t.meter, t."timestamp";

GRANT SELECT ON scoring_state TO energy_postgres_consumer;
GRANT INSERT ON rescoring TO energy_postgres_consumer;
REVOKE ALL ON scores FROM energy_postgres_consumer;
GRANT EXECUTE ON FUNCTION close_scoring, score_forecasts TO energy_trainer;
GRANT SELECT ON latest_readings, aggregate_forecasts, reading_revisions, scores, aggregate_scores, score_values, aggregate_score_values, scored_periods,
    accuracy_by_lead_time, accuracy_by_building, accuracy_by_quality TO energy_trainer;
GRANT SELECT ON scores, aggregate_scores, score_values, aggregate_score_values, scored_periods, accuracy_by_lead_time,
    accuracy_by_building, accuracy_by_quality TO grafana_reader;

-- The registry of models: what the trainer and the commands know of each version.
ALTER TABLE models
    ADD COLUMN readings bigint NOT NULL DEFAULT 0,
    ADD COLUMN seed integer NOT NULL DEFAULT 0,
    ADD COLUMN libraries jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN status text NOT NULL DEFAULT 'retired' CHECK (status IN ('champion', 'retired', 'refused')),
    ADD COLUMN reason text NOT NULL DEFAULT '',
    ADD COLUMN comparison jsonb;
COMMENT ON COLUMN models.readings IS 'Number of readings trained on';
COMMENT ON COLUMN models.seed IS 'Seed of the draw of training rows';
COMMENT ON COLUMN models.libraries IS 'Versions of what made it';
COMMENT ON COLUMN models.status IS 'champion (in use), retired (was in use, or never tried), or refused (lost against the champion)';
COMMENT ON COLUMN models.reason IS 'Why it was promoted or refused';
COMMENT ON COLUMN models.comparison IS 'Challenger and champion on the same origins of the newest weeks, which the challenger had not seen: pinball loss and CVRMSE';

RESET ROLE;
INSERT INTO schema_migrations (version) VALUES ('0007_scores');
COMMIT;
