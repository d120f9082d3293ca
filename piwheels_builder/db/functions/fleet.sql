-- A target is wanted as long as somebody builds for it. The answer is whether that changed for any.
CREATE OR REPLACE FUNCTION want_targets() RETURNS boolean
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    -- One that is wanted again has missed what came out meanwhile.
    UPDATE target SET wanted = NOT wanted, swept_to = CASE WHEN wanted THEN swept_to ELSE 0 END
    WHERE wanted <> EXISTS (
        SELECT FROM builder_target JOIN builder USING (builder_id)
        WHERE builder_target.target_id = target.target_id AND standing <> 'retired');
    RETURN FOUND;
END $$;

-- What every builder's login role may do: log in, four times at once, hold the database up for a minute, which it may lengthen, and
-- write a bit of a sort to the server's disk, which it may not. Made where it is missing. The answer is whether anything changed.
CREATE OR REPLACE FUNCTION admit_login(its_login text) RETURNS boolean
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = its_login) THEN
        EXECUTE format('CREATE ROLE %I IN ROLE piwheels_builder', its_login);
    ELSIF EXISTS (
        SELECT FROM pg_roles
        WHERE rolname = its_login AND rolcanlogin AND rolconnlimit = 4
          AND rolconfig = ARRAY['statement_timeout=60s', 'temp_file_limit=64MB']) THEN
        RETURN false;
    END IF;
    EXECUTE format('ALTER ROLE %I LOGIN CONNECTION LIMIT 4', its_login);
    EXECUTE format('ALTER ROLE %I RESET ALL', its_login);
    EXECUTE format('ALTER ROLE %I SET statement_timeout = %L', its_login, '60s');
    EXECUTE format('ALTER ROLE %I SET temp_file_limit = %L', its_login, '64MB');
    RETURN true;
END $$;

-- What the fleet's owner says of a builder, and nothing that the builder says itself.
CREATE OR REPLACE FUNCTION told_of_builder(its_name text) RETURNS jsonb LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT jsonb_build_object(
        'standing', standing, 'memory_class', memory_class, 'slots', slots, 'slowness', slowness, 'address', address,
        'certificate_serial', certificate_serial::text, 'host_keys', host_keys,
        'targets', (
            SELECT coalesce(jsonb_agg(python || '-' || architecture || '-' || os_release ORDER BY target_id), '[]')
            FROM builder_target JOIN target USING (target_id) WHERE builder_target.builder_id = builder.builder_id))
    FROM builder WHERE name = its_name
$$;

-- Make a builder known, or bring what is known up to date; one that was retired is a member again. Of certificate, host
-- keys and address, null leaves what is known. Its login role is made once, may log in and do what every builder may.
CREATE OR REPLACE FUNCTION register_builder(
    its_name text, its_memory_class integer, its_slots integer, its_targets smallint[],
    its_certificate_serial numeric DEFAULT NULL, its_host_keys text[] DEFAULT NULL, its_address text DEFAULT NULL,
    its_slowness real DEFAULT 1
) RETURNS boolean
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    its_login text := 'builder_' || its_name;
    before    jsonb;
    known     integer;
    admitted  boolean;
    retargets boolean;
BEGIN
    IF its_name !~ '^[a-z0-9]([a-z0-9.-]{0,50}[a-z0-9])?$' THEN
        RAISE EXCEPTION '% cannot name a builder: lower-case letters, digits, dots and dashes, at most 52', its_name
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    admitted := admit_login(its_login);
    before := told_of_builder(its_name);
    UPDATE builder
    SET standing = 'active', standing_reason = NULL, trusted_until = NULL, session = NULL, session_since = NULL, former_sessions = '{}'
    WHERE name = its_name AND standing = 'retired';
    INSERT INTO builder (name, login, memory_class, slots, slowness, certificate_serial, host_keys, address)
    VALUES (its_name, its_login, its_memory_class, its_slots, its_slowness, its_certificate_serial, its_host_keys, its_address)
    ON CONFLICT (name) DO UPDATE SET
        memory_class = excluded.memory_class, slots = excluded.slots, slowness = excluded.slowness,
        certificate_serial = coalesce(excluded.certificate_serial, builder.certificate_serial),
        host_keys = coalesce(excluded.host_keys, builder.host_keys), address = coalesce(excluded.address, builder.address)
    RETURNING builder_id INTO known;
    DELETE FROM builder_target WHERE builder_id = known AND target_id <> ALL (its_targets);
    INSERT INTO builder_target SELECT known, unnest(its_targets) ON CONFLICT DO NOTHING;
    retargets := want_targets();
    RETURN admitted OR retargets OR before IS DISTINCT FROM told_of_builder(its_name);
END $$;

-- A builder leaves the fleet: its leases go to others, what it built and nobody collected is built again, nobody waits for its logs, and
-- it logs in no more. Its name and its history stay. False where nobody of that name is left to retire.
CREATE OR REPLACE FUNCTION retire_builder(its_name text, why text) RETURNS boolean
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    leaver builder;
BEGIN
    UPDATE builder
    SET standing = 'retired', standing_reason = why, certificate_serial = NULL, trusted_until = NULL,
        session = NULL, session_since = NULL, former_sessions = '{}'
    WHERE name = its_name AND standing <> 'retired' RETURNING * INTO leaver;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    EXECUTE format('ALTER ROLE %I NOLOGIN', leaver.login);
    PERFORM take_back_leases(leaver.builder_id, its_name || ' was retired: ' || why);
    PERFORM build_again(lose_wheels_of(leaver.builder_id, '-infinity'), its_name || ' was retired with the wheel: ' || why);
    UPDATE attempt SET log_size = NULL WHERE builder_id = leaver.builder_id AND log_size IS NOT NULL AND log_stored_at IS NULL;
    PERFORM want_targets();
    RETURN true;
END $$;

-- Who may be given work, and who has wheels and logs waiting: dispatch and publish take their hosts from here. Wheels of a quarantined
-- builder do not wait, they are held.
CREATE OR REPLACE VIEW builder_load AS
    SELECT builder.name, builder.standing, builder.standing_reason, builder.has_room, builder.memory_class, builder.slots,
           builder.last_seen_at,
           (coalesce(spool.seconds, 0) * builder.slowness)::real AS spool_seconds,
           coalesce(spool.builds, 0) AS spool_builds,
           coalesce(outbox.wheels, 0) AS wheels_waiting,
           coalesce(logs.number, 0) AS logs_waiting,
           coalesce(outbox.held, 0) AS wheels_held, builder.slowness,
           told.temperature, told.memory_free, told.memory_total, told.throttled, told.under_voltage, told.disk_free
    FROM builder
    -- For each builder, so that its own rows are read whatever the planner thinks of a queue of millions.
    CROSS JOIN LATERAL (
        SELECT sum(estimate_seconds) AS seconds, count(*) AS builds
        FROM queue WHERE queue.builder_id = builder.builder_id AND lease_id IS NOT NULL
    ) AS spool
    LEFT JOIN (
        SELECT attempt.builder_id, count(*) FILTER (WHERE trusted) AS wheels, count(*) FILTER (WHERE NOT trusted) AS held
        FROM wheel JOIN attempt USING (attempt_id) JOIN builder USING (builder_id)
        CROSS JOIN LATERAL is_trusted(builder, attempt.recorded_at) AS trusted
        WHERE wheel.published_at IS NULL AND wheel.refused_reason IS NULL AND wheel.lost_at IS NULL
        GROUP BY attempt.builder_id
    ) AS outbox USING (builder_id)
    LEFT JOIN (
        SELECT attempt.builder_id, count(*) AS number
        FROM attempt JOIN builder USING (builder_id)
        WHERE attempt.log_size IS NOT NULL AND attempt.log_stored_at IS NULL AND is_trusted(builder, attempt.recorded_at)
        GROUP BY attempt.builder_id
    ) AS logs USING (builder_id)
    -- How a machine fares that was not heard of lately, nobody knows.
    LEFT JOIN LATERAL (
        SELECT builder.temperature, builder.memory_free, builder.memory_total, builder.throttled, builder.under_voltage, builder.disk_free
        WHERE builder.last_seen_at > now() - interval '5 minutes'
    ) AS told ON true
    WHERE builder.standing <> 'retired';
