-- name: create_roles()#
-- The roles of a fleet, for the whole PostgreSQL cluster. Run by its superuser; a second run changes nothing.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['piwheels_owner', 'piwheels_dispatcher', 'piwheels_publisher', 'piwheels_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', wanted);
        END IF;
    END LOOP;
    -- Every builder logs in as a role of its own, a member of this one, which itself never logs in.
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'piwheels_builder') THEN
        CREATE ROLE piwheels_builder NOLOGIN;
    END IF;
    -- The owner makes the builders' roles and can make no others members of anything else.
    ALTER ROLE piwheels_owner CREATEROLE;
    GRANT piwheels_builder TO piwheels_owner WITH ADMIN OPTION;
    -- From PostgreSQL 16 on CREATEROLE alters only what it was given with the admin option. Who makes a role has it, but after an
    -- upgrade of the cluster, or a restore, its superuser has made them.
    IF current_setting('server_version_num')::integer >= 160000 THEN
        FOR wanted IN
            SELECT made.rolname
            FROM pg_auth_members AS membership
            JOIN pg_roles AS made ON made.oid = membership.member
            WHERE membership.roleid = 'piwheels_builder'::regrole AND made.rolname LIKE 'builder\_%'
              AND NOT EXISTS (
                  SELECT FROM pg_auth_members AS given
                  WHERE given.roleid = made.oid AND given.member = 'piwheels_owner'::regrole AND given.admin_option)
        LOOP
            EXECUTE format('GRANT %I TO piwheels_owner WITH ADMIN TRUE, INHERIT FALSE, SET FALSE', wanted);
        END LOOP;
    END IF;
    -- Which certificate a session came with is among the statistics of sessions; our functions ask as the owner.
    GRANT pg_read_all_stats TO piwheels_owner;
    -- So that it can end what a builder keeps open.
    GRANT pg_signal_backend TO piwheels_owner;
    -- So that it can bound what builders write to the server's disk.
    GRANT SET ON PARAMETER temp_file_limit TO piwheels_owner;
END $$;

-- name: database_exists(name)$
-- Whether the cluster has a database of this name.
SELECT EXISTS (SELECT FROM pg_database WHERE datname = :name);

-- name: own_public_schema()#
-- The owner may make tables in its database, which PostgreSQL 15 and newer reserve to the database's own owner role.
ALTER SCHEMA public OWNER TO piwheels_owner;
-- Builders are strangers' hosts: no large objects, which fill disks, and no advisory locks, which publication waits for.
DO $$
DECLARE
    its_name regprocedure;
BEGIN
    FOR its_name IN
        SELECT oid FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace
          AND (proname ~ '^pg_(try_)?advisory_' OR proname IN ('lo_creat', 'lo_create', 'lo_from_bytea'))
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', its_name);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO piwheels_owner, piwheels_dispatcher, piwheels_publisher', its_name);
    END LOOP;
END $$;
