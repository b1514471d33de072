-- A role that may only read, for analysts: etl query works under it, and a person gets it by
--   CREATE ROLE ann LOGIN PASSWORD '...' IN ROLE etl_analyst;
-- Roles belong to the server, not to one database: another one may have made it.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'etl_analyst') THEN
        CREATE ROLE etl_analyst NOLOGIN;
    END IF;
END
$$;

GRANT USAGE ON SCHEMA public TO etl_analyst;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO etl_analyst;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO etl_analyst;
