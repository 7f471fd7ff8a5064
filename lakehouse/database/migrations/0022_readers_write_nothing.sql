-- Who reads Gold writes nothing and holds up nobody: no temporary tables, no large objects, and none of the locks that
-- writers, logins and migrations take. A function, as no backup holds these rights: a restore gives them anew.

CREATE FUNCTION lake.confine_readers() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    called record;
BEGIN
    IF (SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database()) THEN
        EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO lakehouse_owner, lakehouse_app', current_database());
        EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    END IF;
    -- The server's functions are its superuser's: another owner of the database cannot take them away (docs/security.md).
    -- Those that are nobody's already stay so: lo_import and lo_export reach files
    FOR called IN
        SELECT oid::regprocedure AS name, proname LIKE '%advisory%' AS is_lock FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace
            AND (proname ~ '^(pg_advisory|pg_try_advisory|lo)_' OR proname IN ('loread', 'lowrite'))
            AND has_function_privilege('public', oid, 'EXECUTE') AND pg_has_role(proowner, 'USAGE')
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', called.name);
        IF called.is_lock THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO lakehouse_owner, lakehouse_app', called.name);
        END IF;
    END LOOP;
END
$$;

SELECT lake.confine_readers();
