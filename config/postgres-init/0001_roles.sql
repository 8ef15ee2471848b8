-- Roles. They get their passwords, and with them the right to log in, from Setup, which reads them from .env.
BEGIN;

CREATE TABLE IF NOT EXISTS schema_migrations (
    version    text PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE schema_migrations IS 'Files of config/postgres-init that were applied, each once';
COMMENT ON COLUMN schema_migrations.version IS 'File name without its ending';
COMMENT ON COLUMN schema_migrations.applied_at IS 'When it was applied (UTC)';

-- Roles belong to the server, not to the database: another database may have made them already.
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['energy_owner', 'energy_postgres_consumer', 'energy_redis_consumer',
                                'energy_predictor', 'energy_trainer', 'grafana_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        END IF;
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO energy_postgres_consumer', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO energy_redis_consumer, energy_predictor, energy_trainer, grafana_reader',
                   current_database());
END
$$;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO energy_owner;
GRANT USAGE ON SCHEMA public
    TO energy_postgres_consumer, energy_redis_consumer, energy_predictor, energy_trainer, grafana_reader;

ALTER ROLE grafana_reader SET default_transaction_read_only = on;
ALTER ROLE grafana_reader SET statement_timeout = '15s';
ALTER ROLE grafana_reader CONNECTION LIMIT 20;

ALTER TABLE schema_migrations OWNER TO energy_owner;
INSERT INTO schema_migrations (version) VALUES ('0001_roles');
COMMIT;
