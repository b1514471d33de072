-- What PUBLIC may in PostgreSQL and an analyst has no use for: to make tables and functions, temporary ones too, and to
-- write large objects. The owner keeps all of it. Where the functions are not ours to revoke, PostgreSQL warns and goes on.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

DO $$
DECLARE
    one oid;
BEGIN
    BEGIN
        EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXCEPTION WHEN internal_error THEN
        NULL; -- the embedded engine cannot change the row of its own database; its front keeps analysts read-only
    END;
    FOR one IN
        SELECT oid FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace
          AND proname IN ('lo_creat', 'lo_create', 'lo_from_bytea', 'lo_open', 'lo_put', 'lo_truncate', 'lo_truncate64',
                          'lo_unlink', 'lowrite')
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', one::regprocedure);
    END LOOP;
END
$$;
