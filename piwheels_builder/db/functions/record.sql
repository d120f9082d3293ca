-- Who is connected: a builder is known by the role it logs in as, with the one certificate that is pinned for it, and by nothing it
-- says. Where none is pinned the session has none: a Unix socket, where the operating system knows who is there.
CREATE OR REPLACE FUNCTION my_builder() RETURNS builder
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    me builder;
BEGIN
    SELECT * INTO me FROM builder WHERE login = session_user AND standing <> 'retired';
    IF NOT FOUND THEN
        RAISE EXCEPTION '% is not a builder of this fleet', session_user USING ERRCODE = 'insufficient_privilege';
    ELSIF me.certificate_serial IS DISTINCT FROM (SELECT client_serial FROM pg_stat_ssl WHERE pid = pg_backend_pid()) THEN
        RAISE EXCEPTION 'this session''s certificate is not the one that is pinned for %: run `ansible-playbook provision.yml`', me.name
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN me;
END $$;

-- Whether a builder is still one host, by what its service drew when it started. A session that a newer one has superseded and that
-- still opens connections is another host's; what it said on a connection opened before may have been on its way for long.
CREATE OR REPLACE FUNCTION is_one_host(me builder, its_session uuid) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    IF its_session IS NULL OR its_session = me.session THEN
        RETURN true;
    ELSIF its_session = ANY (me.former_sessions) THEN
        IF (SELECT backend_start > me.session_since FROM pg_stat_activity WHERE pid = pg_backend_pid()) THEN
            PERFORM quarantine_builder(me.builder_id, 'two hosts call themselves ' || me.name);
            RETURN false;
        END IF;
    ELSE
        UPDATE builder SET session = its_session, session_since = clock_timestamp(),
                           former_sessions = (array_remove(ARRAY[me.session], NULL) || me.former_sessions)[1:50]
        WHERE builder_id = me.builder_id;
    END IF;
    RETURN true;
END $$;

-- A number of bytes that a machine can have, else unknown.
CREATE OR REPLACE FUNCTION possible_bytes(said bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN said BETWEEN 0 AND 1::bigint << 50 THEN said END
$$;

-- The builder lives: the leases it says it still holds last another term, and the builds it says it began are building. A lease
-- that it does not name expires soon: its batch was never delivered, or was lost with the spool. One that is being delivered at
-- this moment is named by the next heartbeat, long before. room says whether it may be given more: its disk and memory are not low.
-- its_session is a random id that its service draws at each start; the rest is how its machine fares, where no machine can be as it says
-- unknown; an older version says none of it. The answer is 'alive', or 'quarantined', and then nothing was renewed.
CREATE OR REPLACE FUNCTION heartbeat(
    leases_held uuid[], begun bigint[], term interval, room boolean DEFAULT true, its_session uuid DEFAULT NULL,
    its_temperature double precision DEFAULT NULL, its_memory_free bigint DEFAULT NULL, its_memory_total bigint DEFAULT NULL,
    its_disk_free bigint DEFAULT NULL, is_throttled boolean DEFAULT NULL, is_under_voltage boolean DEFAULT NULL
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    me builder := my_builder();
BEGIN
    IF NOT hears_builders() THEN
        -- The first after an outage. What expired meanwhile lasts until every other builder has had its turn to speak.
        UPDATE queue SET expires_at = now() + interval '15 minutes'
        WHERE lease_id IS NOT NULL AND expires_at < now() + interval '15 minutes';
    END IF;
    UPDATE builder
    SET last_seen_at = now(), has_room = room, throttled = is_throttled, under_voltage = is_under_voltage,
        -- What is no number is greater than all of them.
        temperature = CASE WHEN its_temperature BETWEEN -100 AND 200 THEN its_temperature END,
        memory_total = possible_bytes(its_memory_total), disk_free = possible_bytes(its_disk_free),
        memory_free = possible_bytes(CASE WHEN its_memory_free > its_memory_total THEN its_memory_total ELSE its_memory_free END)
    WHERE builder_id = me.builder_id RETURNING * INTO me;
    IF me.standing = 'quarantined' OR NOT is_one_host(me, its_session) THEN
        RETURN 'quarantined';
    END IF;
    UPDATE queue SET expires_at = now() + least(term, interval '1 day')
    WHERE builder_id = me.builder_id AND lease_id = ANY (leases_held);
    UPDATE queue SET expires_at = least(expires_at, now() + interval '15 minutes')
    WHERE builder_id = me.builder_id AND lease_id <> ALL (leases_held);
    UPDATE build SET state = 'building', reason = 'began on ' || me.name
    FROM queue
    WHERE queue.build_id = build.build_id AND queue.builder_id = me.builder_id AND queue.lease_id = ANY (leases_held)
      AND build.build_id = ANY (begun) AND build.state = 'leased';
    RETURN 'alive';
END $$;

-- Where the build goes after an attempt that was not the release's fault: back into the queue after a pause, into the next memory
-- class, or parked after three faults on two builders (five on one), so that no release can keep killing Pis.
CREATE OR REPLACE FUNCTION retry_build(its_build bigint, fault outcome, larger boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    faults   integer;
    builders integer;
BEGIN
    SELECT count(*), count(DISTINCT attempt.builder_id) INTO faults, builders
    FROM queue
    JOIN attempt ON attempt.build_id = queue.build_id AND attempt.recorded_at >= queue.queued_at
    JOIN outcome_meaning USING (outcome)
    WHERE queue.build_id = its_build AND blame = 'infrastructure';
    UPDATE queue
    SET lease_id = NULL, builder_id = NULL, expires_at = NULL,
        memory_class = memory_class + larger::integer,
        not_before = CASE WHEN larger THEN '-infinity' ELSE now() + interval '15 seconds' * 4 ^ least(faults, 5) END,
        held = CASE WHEN NOT larger AND ((faults >= 3 AND builders >= 2) OR faults >= 5)
                    THEN format('%s infrastructure faults on %s builders, the last one %s', faults, builders, fault) END
    WHERE build_id = its_build;
    UPDATE build SET state = 'pending', reason = CASE WHEN larger THEN 'needs more memory' ELSE 'tried again after ' || fault END
    WHERE build_id = its_build;
END $$;

-- The largest memory class that any builder of this target has, whatever its standing, unless it is retired.
CREATE OR REPLACE FUNCTION largest_class(of_target smallint) RETURNS smallint LANGUAGE sql STABLE AS $$
    SELECT max(memory_class) FROM builder_target JOIN builder USING (builder_id)
    WHERE target_id = of_target AND standing <> 'retired'
$$;

-- Whether this can be the name of a wheel of a build: one path component, of its project (PEP 503), and of its version where both are
-- plain numbers. Publication compares all else; nothing that fails here passes an honest builder's own check.
CREATE OR REPLACE FUNCTION may_be_wheel_of(its_build bigint, filename text) RETURNS boolean LANGUAGE sql STABLE STRICT AS $$
    SELECT filename ~ '^[A-Za-z0-9_][A-Za-z0-9_.+!]*(-[A-Za-z0-9_.+!]+){4,5}\.whl$' AND length(filename) <= 255
       AND project.name = regexp_replace(lower(split_part(filename, '-', 1) COLLATE "C"), '[_.]+', '-', 'g')
       AND (wheel.version !~ '^[0-9.]+$' OR release.version !~ '^[0-9.]+$'
            OR regexp_replace(wheel.version, '(\.0+)+$', '') = regexp_replace(release.version, '(\.0+)+$', ''))
    FROM build
    JOIN release USING (release_id)
    JOIN project USING (project_id)
    -- Without leading zeros of each number.
    CROSS JOIN LATERAL (SELECT regexp_replace(split_part(filename, '-', 2), '(^|\.)0+([0-9])', '\1\2', 'g') AS version) AS wheel
    WHERE build.build_id = its_build
$$;

-- The answer to a result whose build is not leased so to this builder. An honest one may repeat itself, or be late: then the lease was
-- its own, and held this build. It may also name a lease that nobody knows, after the database was restored from a backup, but not
-- a hundred of them in an hour.
CREATE OR REPLACE FUNCTION answer_without_lease(me builder, of_lease uuid, of_build bigint) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    given lease;
BEGIN
    IF EXISTS (SELECT FROM attempt WHERE build_id = of_build AND lease_id = of_lease AND builder_id = me.builder_id) THEN
        RETURN 'already recorded';
    END IF;
    SELECT * INTO given FROM lease WHERE lease_id = of_lease;
    IF NOT FOUND THEN
        PERFORM note_incident(me.builder_id, format('a result of lease %s, which nobody was given', of_lease));
        IF (SELECT count(*) > 100 FROM incident WHERE builder_id = me.builder_id AND at > now() - interval '1 hour'
                                                  AND what LIKE 'a result of lease %') THEN
            PERFORM quarantine_builder(me.builder_id, 'results of more than a hundred leases that nobody was given, in an hour');
        END IF;
        RETURN 'lease lost';
    ELSIF given.builder_id <> me.builder_id THEN
        PERFORM quarantine_builder(me.builder_id, format('a result of lease %s, which is another builder''s', of_lease));
        RETURN 'refused';
    ELSIF of_build <> ALL (given.builds) THEN
        PERFORM quarantine_builder(me.builder_id, format('a result of build %s, which its lease %s does not hold', of_build, of_lease));
        RETURN 'refused';
    END IF;
    RETURN 'lease lost';
END $$;

-- Record how an attempt ended. Counts while the queue's row carries this lease id and this builder, expired or not; then the
-- answer is 'recorded'. 'already recorded' is the answer to a repetition, 'lease lost' to one that comes too late, 'refused' to what
-- no honest builder sends (which quarantines it); none of these changes a build. What ran out of memory fails where no builder of its target is large enough for the next class. A builder of an older version does
-- not say the last six. its_log_size is that of the compressed log it keeps, in bytes; its_import and what follows are as in wheel.
CREATE OR REPLACE FUNCTION record_attempt(
    of_lease uuid, of_build bigint, its_outcome outcome, its_start timestamptz, its_seconds real, its_peak_memory bigint,
    its_error_line text, its_log_tail text, its_toolchain text,
    wheel_filename text, wheel_sha256 text, wheel_size bigint,
    its_mechanism text DEFAULT NULL, its_missing text DEFAULT NULL, its_log_size bigint DEFAULT NULL,
    its_import import_result DEFAULT NULL, its_import_detail text DEFAULT NULL, its_libraries jsonb DEFAULT NULL
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    me          builder := my_builder();
    leased      queue;
    whose       blame;
    its_project integer;
    again       boolean;
    attempt_no  bigint;
BEGIN
    SELECT * INTO leased FROM queue
    WHERE build_id = of_build AND lease_id = of_lease AND builder_id = me.builder_id
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN answer_without_lease(me, of_lease, of_build);
    ELSIF me.standing = 'quarantined' AND me.trusted_until IS NOT NULL THEN
        -- Distrusted: nothing it says from then on counts.
        RETURN 'lease lost';
    ELSIF (its_outcome = 'built') <> (wheel_filename IS NOT NULL) THEN
        RAISE EXCEPTION 'a wheel comes with the outcome built, and only with it' USING ERRCODE = 'check_violation';
    ELSIF NOT may_be_wheel_of(of_build, wheel_filename) THEN
        PERFORM quarantine_builder(me.builder_id, format('%s as the wheel of build %s', left(wheel_filename, 300), of_build));
        RETURN 'refused';
    END IF;
    SELECT blame INTO STRICT whose FROM outcome_meaning WHERE outcome = its_outcome;
    SELECT project_id INTO STRICT its_project FROM build JOIN release USING (release_id) WHERE build_id = of_build;
    again := whose <> 'none' AND EXISTS (
        SELECT FROM attempt JOIN outcome_meaning USING (outcome) WHERE build_id = of_build AND blame = whose);
    INSERT INTO attempt (
        build_id, project_id, lease_id, builder_id, memory_class, outcome, started_at, seconds, peak_memory,
        error_line, log_tail, toolchain, mechanism, missing, log_size, estimate_seconds)
    VALUES (
        -- A clock or a counter may say anything, and averages are made of it. No log of a builder's own limits is larger than 36 MiB.
        of_build, its_project, of_lease, me.builder_id, leased.memory_class, its_outcome,
        CASE WHEN isfinite(its_start) THEN its_start ELSE now() END, least(its_seconds, 2592000), its_peak_memory,
        left(its_error_line, 1000), right(its_log_tail, 20000), left(its_toolchain, 1000), left(its_mechanism, 100),
        left(its_missing, 300), CASE WHEN its_log_size BETWEEN 1 AND 37748736 THEN its_log_size END,
        leased.estimate_seconds)
    RETURNING attempt_id INTO attempt_no;
    PERFORM note_health(me.builder_id, leased.priority, its_project, its_outcome, whose, again);
    IF whose = 'none' THEN
        INSERT INTO wheel (build_id, attempt_id, filename, sha256, size, import_result, import_detail, libraries)
        VALUES (of_build, attempt_no, wheel_filename, wheel_sha256, wheel_size, its_import, left(its_import_detail, 1000),
                CASE WHEN jsonb_typeof(its_libraries) = 'object' AND pg_column_size(its_libraries) <= 20000 THEN its_libraries END);
        UPDATE build SET state = 'built', reason = 'built by ' || me.name WHERE build_id = of_build;
        DELETE FROM queue WHERE build_id = of_build;
    ELSIF whose = 'infrastructure' OR (whose = 'memory' AND leased.memory_class < largest_class(leased.target_id)) THEN
        PERFORM retry_build(of_build, its_outcome, whose = 'memory');
    ELSE
        UPDATE build SET state = 'failed', reason = its_outcome::text WHERE build_id = of_build;
        DELETE FROM queue WHERE build_id = of_build;
        PERFORM wake_siblings(of_build);
    END IF;
    RETURN 'recorded';
END $$;

-- Of what a builder keeps in its outbox, given as pairs of lease and build, those it may drop: published, refused, lost to another
-- lease, or without a wheel; and their logs are stored. A quarantined builder drops nothing.
CREATE OR REPLACE FUNCTION settled(leases uuid[], builds bigint[]) RETURNS TABLE (lease_id uuid, build_id bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT kept.lease_id, kept.build_id
    FROM my_builder() AS me
    CROSS JOIN unnest(leases, builds) AS kept (lease_id, build_id)
    LEFT JOIN attempt ON attempt.lease_id = kept.lease_id AND attempt.build_id = kept.build_id
                     AND attempt.builder_id = me.builder_id
    LEFT JOIN wheel ON wheel.attempt_id = attempt.attempt_id
    WHERE me.standing <> 'quarantined'
      AND (wheel.wheel_id IS NULL OR num_nonnulls(wheel.published_at, wheel.refused_reason, wheel.lost_at) > 0)
      AND (attempt.log_size IS NULL OR attempt.log_stored_at IS NOT NULL)
$$;
