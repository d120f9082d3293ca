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
END $$;

-- name: database_exists(name)$
-- Whether the cluster has a database of this name.
SELECT EXISTS (SELECT FROM pg_database WHERE datname = :name);

-- name: own_public_schema()#
-- The owner may make tables in its database, which PostgreSQL 15 and newer reserve to the database's own owner role.
ALTER SCHEMA public OWNER TO piwheels_owner;
