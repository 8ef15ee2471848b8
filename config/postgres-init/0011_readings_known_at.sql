-- What was known at a time, in one word.
BEGIN;
SET LOCAL ROLE energy_owner;

-- Without settings of its own, so that the planner sees through it and looks up the meters that are asked for only.
CREATE FUNCTION readings_known_at(moment timestamptz)
    RETURNS TABLE (building_id integer, meter smallint, "timestamp" timestamptz, meter_reading_kwh double precision,
                   known_at timestamptz)
    LANGUAGE sql STABLE AS $$
    SELECT v.building_id, v.meter, v."timestamp", v.meter_reading_kwh, v.known_at FROM public.reading_versions v
    WHERE v.known_at <= moment AND (v.replaced_at IS NULL OR v.replaced_at > moment)
$$;
REVOKE ALL ON FUNCTION readings_known_at FROM PUBLIC;
GRANT EXECUTE ON FUNCTION readings_known_at TO grafana_reader;
COMMENT ON FUNCTION readings_known_at IS 'Readings as they were known at a moment: corrections that came later are undone, what came later is missing';

RESET ROLE;
INSERT INTO schema_migrations (version) VALUES ('0011_readings_known_at');
COMMIT;
