-- Tables. Every timestamp is UTC and labels the start of its interval; every energy is in kWh.
BEGIN;
SET LOCAL ROLE energy_owner;

CREATE TABLE sites (
    site_id   integer PRIMARY KEY CHECK (site_id >= 0),
    time_zone text NOT NULL,
    latitude  double precision NOT NULL,
    longitude double precision NOT NULL,
    country   text NOT NULL,
    stamps    text NOT NULL DEFAULT 'utc' CHECK (stamps IN ('utc', 'local', 'standard')),
    limit_kw  double precision
);
COMMENT ON TABLE sites IS 'Places with one weather and one local time';
COMMENT ON COLUMN sites.site_id IS 'ASHRAE site id';
COMMENT ON COLUMN sites.time_zone IS 'IANA time zone, for profiles and calendars in local time';
COMMENT ON COLUMN sites.latitude IS 'Latitude (degrees north)';
COMMENT ON COLUMN sites.longitude IS 'Longitude (degrees east)';
COMMENT ON COLUMN sites.country IS 'ISO 3166 alpha-2 code, for public holidays';
COMMENT ON COLUMN sites.stamps IS 'How files stamp readings: utc, local (with daylight saving) or standard (without)';
COMMENT ON COLUMN sites.limit_kw IS 'Connection limit of the site (kW), if it has one';

CREATE TABLE buildings (
    building_id   integer PRIMARY KEY CHECK (building_id >= 0),
    site_id       integer NOT NULL REFERENCES sites,
    primary_use   text NOT NULL DEFAULT 'Other',
    floor_area_m2 double precision,
    year_built    integer,
    floor_count   integer
);
COMMENT ON TABLE buildings IS 'Building metadata';
COMMENT ON COLUMN buildings.building_id IS 'ASHRAE building id';
COMMENT ON COLUMN buildings.site_id IS 'Site that the building stands on';
COMMENT ON COLUMN buildings.primary_use IS 'Primary category of activities, in ASHRAE''s words';
COMMENT ON COLUMN buildings.floor_area_m2 IS 'Gross floor area (m²)';
COMMENT ON COLUMN buildings.year_built IS 'Year of opening';
COMMENT ON COLUMN buildings.floor_count IS 'Number of floors';

CREATE TABLE meters (
    building_id integer NOT NULL,
    meter       smallint NOT NULL CHECK (meter BETWEEN 0 AND 3),
    external_id text,
    unit        text NOT NULL DEFAULT 'kWh',
    multiplier  double precision NOT NULL DEFAULT 1,
    first_seen  timestamptz,
    retired_at  timestamptz,
    PRIMARY KEY (building_id, meter)
);
COMMENT ON TABLE meters IS 'Meters, declared in meters.csv or seen in the stream (also of unknown buildings)';
COMMENT ON COLUMN meters.building_id IS 'Building that the meter counts for';
COMMENT ON COLUMN meters.meter IS '0 electricity, 1 chilled water, 2 steam, 3 hot water';
COMMENT ON COLUMN meters.external_id IS 'The operator''s own name of the meter';
COMMENT ON COLUMN meters.unit IS 'Unit of the meter''s files; the publisher converts it to kWh';
COMMENT ON COLUMN meters.multiplier IS 'Factor on the file''s numbers before the unit is converted';
COMMENT ON COLUMN meters.first_seen IS 'Start of the earliest interval with a reading (UTC)';
COMMENT ON COLUMN meters.retired_at IS 'From when on no readings are expected (UTC), if so';

CREATE TABLE readings (
    building_id       integer NOT NULL,
    meter             smallint NOT NULL,
    "timestamp"       timestamptz NOT NULL,
    meter_reading_kwh double precision NOT NULL,
    known_at          timestamptz NOT NULL,
    PRIMARY KEY (building_id, meter, "timestamp")
) PARTITION BY RANGE ("timestamp");
CREATE INDEX readings_timestamp ON readings USING brin ("timestamp") WITH (pages_per_range = 16);
COMMENT ON TABLE readings IS 'The newest version of each reading: one row a meter and interval';
COMMENT ON COLUMN readings.building_id IS 'Building (may be unknown to buildings)';
COMMENT ON COLUMN readings.meter IS '0 electricity, 1 chilled water, 2 steam, 3 hot water';
COMMENT ON COLUMN readings."timestamp" IS 'Start of the interval (UTC)';
COMMENT ON COLUMN readings.meter_reading_kwh IS 'Energy counted in the interval (kWh)';
COMMENT ON COLUMN readings.known_at IS 'When this value became known (UTC): the greater (known_at, value) wins';

CREATE TABLE reading_revisions (
    building_id       integer NOT NULL,
    meter             smallint NOT NULL,
    "timestamp"       timestamptz NOT NULL,
    known_at          timestamptz NOT NULL,
    meter_reading_kwh double precision NOT NULL,
    PRIMARY KEY (building_id, meter, "timestamp", known_at, meter_reading_kwh)
) PARTITION BY RANGE ("timestamp");
COMMENT ON TABLE reading_revisions IS 'Versions of readings that a greater version replaced; reading_versions has all';
COMMENT ON COLUMN reading_revisions.building_id IS 'Building';
COMMENT ON COLUMN reading_revisions.meter IS '0 electricity, 1 chilled water, 2 steam, 3 hot water';
COMMENT ON COLUMN reading_revisions."timestamp" IS 'Start of the interval (UTC)';
COMMENT ON COLUMN reading_revisions.known_at IS 'When the replaced value became known (UTC)';
COMMENT ON COLUMN reading_revisions.meter_reading_kwh IS 'The replaced value (kWh)';

CREATE TABLE site_totals (
    site_id         integer NOT NULL,
    meter           smallint NOT NULL,
    "timestamp"     timestamptz NOT NULL,
    energy_kwh      numeric NOT NULL,
    meters_reported integer NOT NULL,
    PRIMARY KEY (site_id, meter, "timestamp")
) PARTITION BY RANGE ("timestamp");
COMMENT ON TABLE site_totals IS 'Rollup of readings, kept in the transaction that stores them';
COMMENT ON COLUMN site_totals.site_id IS 'Site';
COMMENT ON COLUMN site_totals.meter IS '0 electricity, 1 chilled water, 2 steam, 3 hot water';
COMMENT ON COLUMN site_totals."timestamp" IS 'Start of the interval (UTC)';
COMMENT ON COLUMN site_totals.energy_kwh IS 'Sum over the meters that reported (kWh); numeric, so that no order of arrival shows';
COMMENT ON COLUMN site_totals.meters_reported IS 'Meters with a reading in the interval';

CREATE TABLE weather (
    site_id              integer NOT NULL,
    "timestamp"          timestamptz NOT NULL,
    known_at             timestamptz NOT NULL,
    source               text NOT NULL,
    air_temperature_c    real,
    dew_temperature_c    real,
    cloud_coverage_oktas real,
    precipitation_mm     real,
    sea_level_pressure_hpa real,
    wind_direction_deg   real,
    wind_speed_m_s       real,
    PRIMARY KEY (site_id, "timestamp")
) PARTITION BY RANGE ("timestamp");
COMMENT ON TABLE weather IS 'Weather observed at each site, one row an hour';
COMMENT ON COLUMN weather.site_id IS 'Site';
COMMENT ON COLUMN weather."timestamp" IS 'Start of the hour (UTC)';
COMMENT ON COLUMN weather.known_at IS 'When the observation became known (UTC): the greater one wins';
COMMENT ON COLUMN weather.source IS 'Who observed it';
COMMENT ON COLUMN weather.air_temperature_c IS 'Air temperature (°C)';
COMMENT ON COLUMN weather.dew_temperature_c IS 'Dew point temperature (°C)';
COMMENT ON COLUMN weather.cloud_coverage_oktas IS 'Cloud cover (oktas, 0 to 9)';
COMMENT ON COLUMN weather.precipitation_mm IS 'Precipitation in the hour (mm); -1 is a trace';
COMMENT ON COLUMN weather.sea_level_pressure_hpa IS 'Air pressure at sea level (hPa)';
COMMENT ON COLUMN weather.wind_direction_deg IS 'Direction that the wind comes from (degrees from north)';
COMMENT ON COLUMN weather.wind_speed_m_s IS 'Wind speed (m/s)';

CREATE TABLE weather_forecasts (
    site_id              integer NOT NULL,
    issued_at            timestamptz NOT NULL,
    source               text NOT NULL,
    air_temperature_c    real[] NOT NULL,
    dew_temperature_c    real[] NOT NULL,
    cloud_coverage_oktas real[] NOT NULL,
    precipitation_mm     real[] NOT NULL,
    sea_level_pressure_hpa real[] NOT NULL,
    wind_direction_deg   real[] NOT NULL,
    wind_speed_m_s       real[] NOT NULL,
    PRIMARY KEY (site_id, issued_at, source)
) PARTITION BY RANGE (issued_at);
COMMENT ON TABLE weather_forecasts IS 'Weather as it was forecast: element k is for k hours after issued_at';
COMMENT ON COLUMN weather_forecasts.site_id IS 'Site';
COMMENT ON COLUMN weather_forecasts.issued_at IS 'Newest closed hour when the forecast was made (UTC)';
COMMENT ON COLUMN weather_forecasts.source IS 'Who forecast it, and how';
COMMENT ON COLUMN weather_forecasts.air_temperature_c IS 'Air temperature by lead time (°C)';
COMMENT ON COLUMN weather_forecasts.dew_temperature_c IS 'Dew point temperature by lead time (°C)';
COMMENT ON COLUMN weather_forecasts.cloud_coverage_oktas IS 'Cloud cover by lead time (oktas)';
COMMENT ON COLUMN weather_forecasts.precipitation_mm IS 'Precipitation by lead time (mm)';
COMMENT ON COLUMN weather_forecasts.sea_level_pressure_hpa IS 'Air pressure at sea level by lead time (hPa)';
COMMENT ON COLUMN weather_forecasts.wind_direction_deg IS 'Wind direction by lead time (degrees from north)';
COMMENT ON COLUMN weather_forecasts.wind_speed_m_s IS 'Wind speed by lead time (m/s)';

CREATE TABLE forecasts (
    building_id integer NOT NULL,
    meter       smallint NOT NULL,
    issued_at   timestamptz NOT NULL,
    made_at     timestamptz NOT NULL,
    model       text NOT NULL,
    quality     text NOT NULL,
    q10         real[] NOT NULL,
    q50         real[] NOT NULL,
    q90         real[] NOT NULL,
    PRIMARY KEY (building_id, meter, issued_at)
) PARTITION BY RANGE (issued_at);
CREATE INDEX forecasts_issued_at ON forecasts USING brin (issued_at) WITH (pages_per_range = 16);
COMMENT ON TABLE forecasts IS 'Forecasts of meters as issued, never overwritten: element k of each array is for the interval that starts k steps after issued_at';
COMMENT ON COLUMN forecasts.building_id IS 'Building';
COMMENT ON COLUMN forecasts.meter IS '0 electricity, 1 chilled water, 2 steam, 3 hot water';
COMMENT ON COLUMN forecasts.issued_at IS 'Start of the newest interval that the forecast may know (UTC)';
COMMENT ON COLUMN forecasts.made_at IS 'When it was computed (UTC)';
COMMENT ON COLUMN forecasts.model IS 'Model that made it, see models';
COMMENT ON COLUMN forecasts.quality IS 'Step of the fallback ladder: full, no_weather, profile, persistence or peers';
COMMENT ON COLUMN forecasts.q10 IS '10 % quantile by lead time (kWh)';
COMMENT ON COLUMN forecasts.q50 IS 'Median by lead time (kWh)';
COMMENT ON COLUMN forecasts.q90 IS '90 % quantile by lead time (kWh)';

CREATE TABLE aggregate_forecasts (
    site_id   integer,
    meter     smallint NOT NULL,
    issued_at timestamptz NOT NULL,
    made_at   timestamptz NOT NULL,
    model     text NOT NULL,
    meters    integer NOT NULL,
    q02       real[] NOT NULL,
    q05       real[] NOT NULL,
    q10       real[] NOT NULL,
    q25       real[] NOT NULL,
    q50       real[] NOT NULL,
    q75       real[] NOT NULL,
    q90       real[] NOT NULL,
    q95       real[] NOT NULL,
    q98       real[] NOT NULL,
    UNIQUE NULLS NOT DISTINCT (site_id, meter, issued_at)
) PARTITION BY RANGE (issued_at);
CREATE INDEX aggregate_forecasts_issued_at ON aggregate_forecasts (issued_at, site_id, meter);
COMMENT ON TABLE aggregate_forecasts IS 'Forecasts of site and grid totals per meter code, same shape as forecasts';
COMMENT ON COLUMN aggregate_forecasts.site_id IS 'Site, or null for the whole grid';
COMMENT ON COLUMN aggregate_forecasts.meter IS '0 electricity, 1 chilled water, 2 steam, 3 hot water';
COMMENT ON COLUMN aggregate_forecasts.issued_at IS 'Start of the newest interval that the forecast may know (UTC)';
COMMENT ON COLUMN aggregate_forecasts.made_at IS 'When it was computed (UTC)';
COMMENT ON COLUMN aggregate_forecasts.model IS 'Model that made the forecasts of the meters';
COMMENT ON COLUMN aggregate_forecasts.meters IS 'Number of meters in the total';
COMMENT ON COLUMN aggregate_forecasts.q02 IS '2 % quantile by lead time (kWh)';
COMMENT ON COLUMN aggregate_forecasts.q05 IS '5 % quantile by lead time (kWh)';
COMMENT ON COLUMN aggregate_forecasts.q10 IS '10 % quantile by lead time (kWh)';
COMMENT ON COLUMN aggregate_forecasts.q25 IS '25 % quantile by lead time (kWh)';
COMMENT ON COLUMN aggregate_forecasts.q50 IS 'Median by lead time (kWh)';
COMMENT ON COLUMN aggregate_forecasts.q75 IS '75 % quantile by lead time (kWh)';
COMMENT ON COLUMN aggregate_forecasts.q90 IS '90 % quantile by lead time (kWh)';
COMMENT ON COLUMN aggregate_forecasts.q95 IS '95 % quantile by lead time (kWh)';
COMMENT ON COLUMN aggregate_forecasts.q98 IS '98 % quantile by lead time (kWh)';

CREATE TABLE scores (
    building_id integer NOT NULL,
    meter       smallint NOT NULL,
    day         timestamptz NOT NULL,
    lead_h      smallint NOT NULL,
    quality     text NOT NULL,
    forecasts   integer NOT NULL,
    absolute_error_kwh double precision NOT NULL,
    squared_error_kwh2 double precision NOT NULL,
    pinball_kwh double precision NOT NULL,
    covered     integer NOT NULL,
    persistence_absolute_error_kwh double precision NOT NULL,
    PRIMARY KEY (building_id, meter, day, lead_h, quality)
) PARTITION BY RANGE (day);
COMMENT ON TABLE scores IS 'How good the forecasts were, by day of the target';
COMMENT ON COLUMN scores.building_id IS 'Building';
COMMENT ON COLUMN scores.meter IS '0 electricity, 1 chilled water, 2 steam, 3 hot water';
COMMENT ON COLUMN scores.day IS 'Midnight that starts the day of the targets (UTC)';
COMMENT ON COLUMN scores.lead_h IS 'Lead time (h)';
COMMENT ON COLUMN scores.quality IS 'Step of the fallback ladder that made the forecasts';
COMMENT ON COLUMN scores.forecasts IS 'Number of forecasts scored';
COMMENT ON COLUMN scores.absolute_error_kwh IS 'Sum of the median''s absolute errors (kWh)';
COMMENT ON COLUMN scores.squared_error_kwh2 IS 'Sum of the median''s squared errors (kWh²)';
COMMENT ON COLUMN scores.pinball_kwh IS 'Sum of the pinball loss, mean over the three quantiles (kWh)';
COMMENT ON COLUMN scores.covered IS 'Number of truths inside the 80 % interval';
COMMENT ON COLUMN scores.persistence_absolute_error_kwh IS 'The same sum for repeating the newest reading (kWh)';

CREATE TABLE anomalies (
    building_id       integer NOT NULL,
    meter             smallint NOT NULL,
    "timestamp"       timestamptz NOT NULL,
    kind              text NOT NULL,
    detected_at       timestamptz NOT NULL,
    meter_reading_kwh double precision NOT NULL,
    expected_kwh      double precision,
    score             double precision NOT NULL,
    PRIMARY KEY (building_id, meter, "timestamp", kind)
) PARTITION BY RANGE ("timestamp");
COMMENT ON TABLE anomalies IS 'Readings that neither forecast nor past explain';
COMMENT ON COLUMN anomalies.building_id IS 'Building';
COMMENT ON COLUMN anomalies.meter IS '0 electricity, 1 chilled water, 2 steam, 3 hot water';
COMMENT ON COLUMN anomalies."timestamp" IS 'Start of the interval (UTC)';
COMMENT ON COLUMN anomalies.kind IS 'outside_interval (far from the forecast) or flat_line (unchanged for too long)';
COMMENT ON COLUMN anomalies.detected_at IS 'When it was found (UTC)';
COMMENT ON COLUMN anomalies.meter_reading_kwh IS 'What was counted (kWh)';
COMMENT ON COLUMN anomalies.expected_kwh IS 'Median of the forecast issued one step before (kWh)';
COMMENT ON COLUMN anomalies.score IS 'Distance from the forecast in widths of its 80 % interval, or hours without a change';

CREATE TABLE models (
    model         text PRIMARY KEY,
    trained_at    timestamptz NOT NULL,
    training_from timestamptz NOT NULL,
    training_to   timestamptz NOT NULL,
    meters        integer NOT NULL,
    scores        jsonb NOT NULL,
    card          jsonb NOT NULL,
    promoted_at   timestamptz
);
COMMENT ON TABLE models IS 'What was trained on what, when, and how good it was';
COMMENT ON COLUMN models.model IS 'Name of the model, as in forecasts.model';
COMMENT ON COLUMN models.trained_at IS 'When it was trained (UTC)';
COMMENT ON COLUMN models.training_from IS 'Start of the first interval trained on (UTC)';
COMMENT ON COLUMN models.training_to IS 'Start of the last interval trained on (UTC)';
COMMENT ON COLUMN models.meters IS 'Number of meters trained on';
COMMENT ON COLUMN models.scores IS 'Scores on held-out data by lead time, with persistence beside them';
COMMENT ON COLUMN models.card IS 'The dump''s card: features, library versions, checksums';
COMMENT ON COLUMN models.promoted_at IS 'When the predictor was given it (UTC), if ever';

CREATE TABLE dead_letters (
    topic       text NOT NULL,
    "partition" integer NOT NULL,
    "offset"    bigint NOT NULL,
    consumer    text NOT NULL,
    reason      text NOT NULL,
    key         bytea,
    payload     bytea,
    noticed_at  timestamptz NOT NULL,
    PRIMARY KEY (topic, "partition", "offset")
);
CREATE INDEX dead_letters_noticed_at ON dead_letters (noticed_at);
COMMENT ON TABLE dead_letters IS 'Messages that can never be stored';
COMMENT ON COLUMN dead_letters.topic IS 'Topic that the message came from';
COMMENT ON COLUMN dead_letters."partition" IS 'Its partition';
COMMENT ON COLUMN dead_letters."offset" IS 'Its offset';
COMMENT ON COLUMN dead_letters.consumer IS 'Consumer that refused it';
COMMENT ON COLUMN dead_letters.reason IS 'Why it can never be stored';
COMMENT ON COLUMN dead_letters.key IS 'The message''s key';
COMMENT ON COLUMN dead_letters.payload IS 'The message''s value';
COMMENT ON COLUMN dead_letters.noticed_at IS 'When it was refused (UTC)';

CREATE TABLE unknown_buildings (
    building_id   integer PRIMARY KEY,
    first_reading timestamptz NOT NULL,
    noticed_at    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE unknown_buildings IS 'Buildings with readings but without metadata; their readings are stored, and join totals when metadata comes';
COMMENT ON COLUMN unknown_buildings.building_id IS 'Building';
COMMENT ON COLUMN unknown_buildings.first_reading IS 'Start of the first interval seen (UTC)';
COMMENT ON COLUMN unknown_buildings.noticed_at IS 'When it was noticed (UTC)';

CREATE TABLE data_gaps (
    topic       text NOT NULL,
    "partition" integer NOT NULL,
    from_offset bigint NOT NULL,
    to_offset   bigint NOT NULL,
    noticed_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, "partition", from_offset)
);
COMMENT ON TABLE data_gaps IS 'Messages that a topic''s retention deleted before they were stored';
COMMENT ON COLUMN data_gaps.topic IS 'Topic';
COMMENT ON COLUMN data_gaps."partition" IS 'Partition';
COMMENT ON COLUMN data_gaps.from_offset IS 'First offset that is gone';
COMMENT ON COLUMN data_gaps.to_offset IS 'First offset that is still there';
COMMENT ON COLUMN data_gaps.noticed_at IS 'When the gap was noticed (UTC)';

CREATE TABLE consumer_offsets (
    topic       text NOT NULL,
    "partition" integer NOT NULL,
    next_offset bigint NOT NULL,
    clock       timestamptz,
    stored_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, "partition")
);
COMMENT ON TABLE consumer_offsets IS 'How far each partition is stored; moved by compare-and-set in the transaction of the data';
COMMENT ON COLUMN consumer_offsets.topic IS 'Topic';
COMMENT ON COLUMN consumer_offsets."partition" IS 'Partition';
COMMENT ON COLUMN consumer_offsets.next_offset IS 'First offset that is not stored yet';
COMMENT ON COLUMN consumer_offsets.clock IS 'Newest tick of the partition: intervals up to this one are complete (UTC)';
COMMENT ON COLUMN consumer_offsets.stored_at IS 'When it was moved last (UTC)';

-- Monthly partitions of every partitioned table for the months of [first, last]. Made apart and then attached,
-- so that no reader waits. Runs as the owner: services need no right to create tables.
CREATE FUNCTION ensure_partitions(first timestamptz, last timestamptz) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    parent name;
    month  timestamptz;
    child  text;
BEGIN
    IF first < '1990-01-01' OR last >= '2100-01-01' OR last - first > interval '30 years' THEN
        RAISE EXCEPTION 'no partitions for % to %', first, last USING ERRCODE = 'datetime_field_overflow';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('ensure_partitions'));
    FOR parent IN SELECT relname FROM pg_class WHERE relkind = 'p' AND relnamespace = 'public'::regnamespace LOOP
        FOR month IN SELECT generate_series(date_trunc('month', first), last, interval '1 month') LOOP
            child := parent || to_char(month, '_YYYY_MM');
            IF to_regclass(child) IS NULL THEN
                EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', child, parent);
                EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                               parent, child, month, month + interval '1 month');
            END IF;
        END LOOP;
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION ensure_partitions FROM PUBLIC;
COMMENT ON FUNCTION ensure_partitions IS 'Make the monthly partitions that event times in [first, last] need';

-- Bulk loads write readings without their rollups and first-seen marks; this makes both anew.
CREATE FUNCTION rebuild_hourly_totals() RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
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
REVOKE ALL ON FUNCTION rebuild_hourly_totals FROM PUBLIC;
COMMENT ON FUNCTION rebuild_hourly_totals IS 'Make site_totals and meters.first_seen anew from readings';

RESET ROLE;
INSERT INTO schema_migrations (version) VALUES ('0002_schema');
COMMIT;
