-- Make a builder known, or bring what is known up to date. Its login role is made once, may log in and do what every builder may.
CREATE OR REPLACE FUNCTION register_builder(its_name text, its_memory_class integer, its_slots integer, its_targets smallint[])
RETURNS boolean
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    its_login text := 'builder_' || its_name;
    before    text;
    known     integer;
    retargets boolean;
BEGIN
    IF its_name !~ '^[a-z0-9]([a-z0-9.-]{0,50}[a-z0-9])?$' THEN
        RAISE EXCEPTION '% cannot name a builder: lower-case letters, digits, dots and dashes, at most 52', its_name
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = its_login) THEN
        EXECUTE format('CREATE ROLE %I LOGIN IN ROLE piwheels_builder', its_login);
    END IF;
    SELECT row_to_json(builder)::text || coalesce(array_agg(target_id ORDER BY target_id)::text, '') INTO before
    FROM builder LEFT JOIN builder_target USING (builder_id) WHERE name = its_name GROUP BY builder.*;
    INSERT INTO builder (name, login, memory_class, slots) VALUES (its_name, its_login, its_memory_class, its_slots)
    ON CONFLICT (name) DO UPDATE SET memory_class = excluded.memory_class, slots = excluded.slots,
        standing = CASE WHEN builder.standing = 'retired' THEN 'active' ELSE builder.standing END
    RETURNING builder_id INTO known;
    DELETE FROM builder_target WHERE builder_id = known AND target_id <> ALL (its_targets);
    INSERT INTO builder_target SELECT known, unnest(its_targets) ON CONFLICT DO NOTHING;
    -- A target is wanted as long as somebody builds for it.
    UPDATE target SET wanted = NOT wanted
    WHERE wanted <> EXISTS (
        SELECT FROM builder_target JOIN builder USING (builder_id)
        WHERE builder_target.target_id = target.target_id AND standing <> 'retired');
    retargets := FOUND;
    RETURN retargets OR before IS DISTINCT FROM (
        SELECT row_to_json(builder)::text || coalesce(array_agg(target_id ORDER BY target_id)::text, '')
        FROM builder LEFT JOIN builder_target USING (builder_id) WHERE name = its_name GROUP BY builder.*);
END $$;

-- Who may be given work, and who has wheels waiting. Dispatch and publish take their hosts from here.
CREATE OR REPLACE VIEW builder_load AS
    SELECT builder.name, builder.standing, builder.standing_reason, builder.has_room, builder.memory_class, builder.slots,
           builder.last_seen_at,
           coalesce(spool.seconds, 0)::real AS spool_seconds,
           coalesce(spool.builds, 0) AS spool_builds,
           coalesce(outbox.wheels, 0) AS wheels_waiting
    FROM builder
    LEFT JOIN LATERAL (
        SELECT sum(estimate_seconds) AS seconds, count(*) AS builds
        FROM queue WHERE queue.builder_id = builder.builder_id AND queue.lease_id IS NOT NULL
    ) AS spool ON true
    LEFT JOIN LATERAL (
        SELECT count(*) AS wheels
        FROM wheel JOIN attempt USING (attempt_id)
        WHERE wheel.published_at IS NULL AND wheel.refused_reason IS NULL AND wheel.lost_at IS NULL
          AND attempt.builder_id = builder.builder_id
    ) AS outbox ON true
    WHERE builder.standing <> 'retired';
