-- Refuse every change of a build's state that build_transition does not name, and stamp those it does.
CREATE OR REPLACE FUNCTION check_build_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM build_transition WHERE before = OLD.state AND after = NEW.state) THEN
        RAISE EXCEPTION 'build % cannot go from % to %', OLD.build_id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'build_transition_is_known';
    END IF;
    NEW.changed_at := now();
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER build_transition_is_known BEFORE UPDATE OF state ON build
    FOR EACH ROW WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION check_build_transition();
-- The last word on how long a build will take and what memory it needs: this project's own attempts, newest first, else the
-- caller's guess. A build that once ran out of memory starts in the class above that attempt's builder.
CREATE OR REPLACE FUNCTION expected_cost(wanted_build bigint, guess_seconds real, OUT seconds real, OUT memory_class smallint)
LANGUAGE sql STABLE AS $$
    WITH past AS (
        SELECT attempt.seconds, attempt.outcome, builder.memory_class
        FROM build
        JOIN release mine USING (release_id)
        JOIN release other ON other.project_id = mine.project_id
        JOIN build earlier ON earlier.release_id = other.release_id
        JOIN attempt ON attempt.build_id = earlier.build_id
        JOIN builder ON builder.builder_id = attempt.builder_id
        JOIN outcome_meaning ON outcome_meaning.outcome = attempt.outcome AND blame <> 'infrastructure'
        WHERE build.build_id = wanted_build
        ORDER BY attempt.attempt_id DESC
        LIMIT 5
    )
    SELECT greatest(coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY past.seconds), guess_seconds), 0.1)::real,
           least(coalesce(max(past.memory_class + 1) FILTER (WHERE past.outcome = 'out_of_memory'), 0), 2)::smallint
    FROM past
$$;

-- Put a pending build into the queue. Nothing happens where it is there already.
CREATE OR REPLACE FUNCTION enqueue(wanted_build bigint, its_priority integer, guess_seconds real, leader bigint DEFAULT NULL)
RETURNS void LANGUAGE sql AS $$
    INSERT INTO queue (build_id, target_id, memory_class, priority, estimate_seconds, waits_for)
    SELECT build.build_id, build.target_id, cost.memory_class, its_priority, cost.seconds, leader
    FROM build, expected_cost(build.build_id, guess_seconds) AS cost
    WHERE build.build_id = wanted_build AND build.state = 'pending'
    ON CONFLICT (build_id) DO NOTHING
$$;

-- Let go the siblings that waited for a build whose end does not serve them. On the leader's architecture all of them start;
-- elsewhere the oldest one leads the others, since a wheel of theirs may still serve several.
CREATE OR REPLACE FUNCTION wake_siblings(leader bigint) RETURNS void LANGUAGE sql AS $$
    WITH waiting AS (
        SELECT queue.build_id, target.architecture,
               first_value(queue.build_id) OVER (
                   PARTITION BY target.architecture ORDER BY os_release.age, target.abi_order) AS oldest
        FROM queue JOIN target USING (target_id) JOIN os_release USING (os_release)
        WHERE queue.waits_for = leader
    )
    UPDATE queue SET waits_for = CASE
        WHEN waiting.build_id = waiting.oldest THEN NULL
        WHEN waiting.architecture = (
            SELECT architecture FROM build JOIN target USING (target_id) WHERE build.build_id = leader) THEN NULL
        ELSE waiting.oldest END
    FROM waiting WHERE waiting.build_id = queue.build_id
$$;

-- Want a finished or skipped build again: the operator asked for a rebuild, or the policy wants it now.
CREATE OR REPLACE FUNCTION requeue_build(wanted_build bigint, why text, its_priority integer DEFAULT 0) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE build SET state = 'pending', reason = why
    WHERE build_id = wanted_build AND state IN ('failed', 'published', 'skipped');
    IF NOT FOUND THEN
        -- A parked build is pending already: letting it go is what was asked.
        UPDATE queue SET held = NULL, not_before = '-infinity', queued_at = now()
        WHERE build_id = wanted_build AND held IS NOT NULL;
        RETURN FOUND;
    END IF;
    PERFORM enqueue(wanted_build, its_priority, 60);
    RETURN true;
END $$;

-- Stop wanting a pending build that nobody has leased; whoever waited for it starts.
CREATE OR REPLACE FUNCTION skip_build(unwanted bigint, why text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    DELETE FROM queue WHERE build_id = unwanted AND lease_id IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE build SET state = 'skipped', reason = why WHERE build_id = unwanted;
    PERFORM wake_siblings(unwanted);
    RETURN true;
END $$;

-- Want a build of a release for a target: make it if it is new, queue it again if it was skipped, hasten it if it is queued with a
-- lesser priority. Other states stay as they are.
-- The answer is the build's id where this call put it into the queue, else null.
CREATE OR REPLACE FUNCTION want_build(
    its_release bigint, its_target smallint, its_priority integer, guess_seconds real, leader bigint DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    wanted bigint;
BEGIN
    INSERT INTO build (release_id, target_id, reason) VALUES (its_release, its_target, 'wanted')
    ON CONFLICT (release_id, target_id) DO UPDATE SET state = 'pending', reason = 'wanted again'
        WHERE build.state = 'skipped' AND build.reason NOT LIKE 'served by %'
    RETURNING build_id INTO wanted;
    IF wanted IS NOT NULL THEN
        PERFORM enqueue(wanted, its_priority, guess_seconds, leader);
    ELSE
        UPDATE queue SET priority = its_priority
        FROM build
        WHERE build.release_id = its_release AND build.target_id = its_target AND queue.build_id = build.build_id
          AND queue.priority > its_priority;
    END IF;
    RETURN wanted;
END $$;
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
    SELECT builder.name, builder.standing, builder.memory_class, builder.slots, builder.last_seen_at,
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
-- The builds to lease next for a builder, worth about budget_seconds, at most most_builds, without those in passed_over. Reads
-- the head of the queue's index once per target and memory class, and locks nothing.
CREATE OR REPLACE FUNCTION next_builds(for_builder builder, budget_seconds real, most_builds integer, passed_over bigint[])
RETURNS bigint[] LANGUAGE sql STABLE AS $$
    WITH head AS (
        SELECT candidate.*
        FROM builder_target
        CROSS JOIN generate_series(0, for_builder.memory_class) AS class
        CROSS JOIN LATERAL (
            SELECT queue.build_id, queue.priority, queue.memory_class, queue.estimate_seconds
            FROM queue
            WHERE queue.target_id = builder_target.target_id AND queue.memory_class = class
              AND queue.lease_id IS NULL AND queue.waits_for IS NULL AND queue.held IS NULL AND queue.not_before <= now()
              AND queue.build_id <> ALL (passed_over)
            ORDER BY queue.priority, queue.estimate_seconds DESC, queue.build_id
            LIMIT most_builds
        ) AS candidate
        WHERE builder_target.builder_id = for_builder.builder_id
    ), ranked AS (
        SELECT head.build_id,
               row_number() OVER line AS place,
               sum(head.estimate_seconds) OVER line - head.estimate_seconds AS seconds_before
        FROM head
        WINDOW line AS (ORDER BY priority, memory_class DESC, estimate_seconds DESC, build_id)
    )
    SELECT array_agg(build_id ORDER BY place)
    FROM ranked WHERE place <= most_builds AND (place = 1 OR seconds_before < budget_seconds)
$$;

-- Lease builds worth about budget_seconds to one builder, at most most_builds of them, for term. At least one where any fits. The
-- rows are everything a builder needs to know; the same lease id stands on all of them. Several callers at once never get
-- the same build: what another one holds at this moment is passed over, and so is a release whose sdist is gone.
CREATE OR REPLACE FUNCTION lease_batch(to_builder text, budget_seconds real, most_builds integer, term interval)
RETURNS TABLE (
    lease_id uuid, build_id bigint, expires_at timestamptz, estimate_seconds real,
    project text, version text, python text, architecture text, os_release text,
    filename text, url text, sha256 text, size bigint, upload_time timestamptz
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    me          builder;
    new_id      uuid := gen_random_uuid();
    chosen      bigint[];
    passed_over bigint[] := '{}';
BEGIN
    SELECT * INTO me FROM builder WHERE name = to_builder;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no builder is called %', to_builder USING ERRCODE = 'no_data_found';
    ELSIF me.standing <> 'active' THEN
        RETURN;
    END IF;
    LOOP
        chosen := next_builds(me, budget_seconds, most_builds, passed_over);
        EXIT WHEN chosen IS NULL;
        UPDATE queue SET lease_id = new_id, builder_id = me.builder_id, expires_at = now() + term
        WHERE queue.build_id IN (
            SELECT free.build_id FROM queue AS free JOIN build USING (build_id)
            -- Asked again, since it may have been leased and come back since it was chosen. Upstream may have dropped its sdist.
            WHERE free.build_id = ANY (chosen) AND free.lease_id IS NULL AND free.held IS NULL AND free.not_before <= now()
              AND EXISTS (SELECT FROM upstream_file WHERE upstream_file.release_id = build.release_id AND kind = 'sdist')
            FOR UPDATE OF free SKIP LOCKED);
        EXIT WHEN FOUND;
        passed_over := passed_over || chosen;
    END LOOP;
    UPDATE build SET state = 'leased', reason = 'leased to ' || me.name
    FROM queue WHERE queue.build_id = ANY (chosen) AND queue.lease_id = new_id AND build.build_id = queue.build_id;
    RETURN QUERY
    SELECT new_id, queue.build_id, queue.expires_at, queue.estimate_seconds,
           project.name, release.version, target.python, target.architecture, target.os_release,
           sdist.filename, sdist.url, sdist.sha256, sdist.size, sdist.upload_time
    FROM unnest(chosen) WITH ORDINALITY AS line (build_id, place)
    JOIN queue ON queue.build_id = line.build_id AND queue.lease_id = new_id
    JOIN build ON build.build_id = line.build_id
    JOIN release ON release.release_id = build.release_id
    JOIN project ON project.project_id = release.project_id
    JOIN target ON target.target_id = build.target_id
    CROSS JOIN LATERAL (
        SELECT * FROM upstream_file
        WHERE upstream_file.release_id = build.release_id AND kind = 'sdist'
        ORDER BY upstream_file.yanked, upstream_file.filename LIKE '%.tar.gz' DESC, upstream_file.filename
        LIMIT 1
    ) AS sdist
    ORDER BY line.place;
END $$;

-- Give back what was leased but could not be delivered, or what a retired builder still held. Builds that began count as lost.
CREATE OR REPLACE FUNCTION release_lease(of_lease uuid, why text) RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH given_back AS (
        UPDATE queue SET lease_id = NULL, builder_id = NULL, expires_at = NULL WHERE lease_id = of_lease RETURNING build_id
    ), told AS (
        UPDATE build SET state = 'pending', reason = why FROM given_back WHERE given_back.build_id = build.build_id
        RETURNING build.build_id
    )
    SELECT count(*)::integer FROM told
$$;

-- Take back leases that expired: by this clock alone, and never within one term of a database start, so that builders have had
-- the time to say that they live.
CREATE OR REPLACE FUNCTION reclaim_leases(term interval) RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH reclaimed AS (
        UPDATE queue SET lease_id = NULL, builder_id = NULL, expires_at = NULL
        WHERE lease_id IS NOT NULL AND expires_at < now() AND pg_postmaster_start_time() < now() - term
        RETURNING build_id
    ), told AS (
        UPDATE build SET state = 'pending', reason = 'lease expired and was reclaimed'
        FROM reclaimed WHERE reclaimed.build_id = build.build_id
        RETURNING build.build_id
    )
    SELECT count(*)::integer FROM told
$$;

-- Start builds that wait for a sibling nobody can build: parked, or of a target without an active builder.
CREATE OR REPLACE FUNCTION wake_orphans() RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH hopeless AS (
        SELECT DISTINCT waiting.waits_for AS leader
        FROM queue AS waiting
        LEFT JOIN queue AS leader ON leader.build_id = waiting.waits_for
        WHERE waiting.waits_for IS NOT NULL AND (
            (leader.build_id IS NULL AND NOT EXISTS (
                SELECT FROM build WHERE build.build_id = waiting.waits_for AND state = 'built'))
            OR leader.held IS NOT NULL
            OR (leader.build_id IS NOT NULL AND leader.lease_id IS NULL AND NOT EXISTS (
                SELECT FROM builder_target JOIN builder USING (builder_id)
                WHERE builder_target.target_id = leader.target_id AND builder.standing = 'active'
                  AND builder.memory_class >= leader.memory_class)))
    ), woken AS (
        SELECT leader, wake_siblings(leader) FROM hopeless
    )
    SELECT count(*)::integer FROM woken
$$;
-- A verified wheel is in the tree: serve it from now on, under the filename, hash and size given (a build tag changes all three).
-- served are the targets, besides its own, that it serves as well: their waiting builds end here, the others start. False where
-- somebody published or refused it meanwhile.
CREATE OR REPLACE FUNCTION publish_wheel(
    its_wheel bigint, its_filename text, its_sha256 text, its_size bigint,
    its_requires_python text, its_metadata_sha256 text, its_glibc_floor text, served smallint[]
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    mine    wheel;
    sibling bigint;
BEGIN
    UPDATE wheel
    SET published_at = now(), filename = its_filename, sha256 = its_sha256, size = its_size,
        requires_python = its_requires_python, metadata_sha256 = its_metadata_sha256, glibc_floor = its_glibc_floor
    WHERE wheel_id = its_wheel AND published_at IS NULL AND refused_reason IS NULL AND lost_at IS NULL
    RETURNING * INTO mine;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE build SET state = 'published', reason = 'serves ' || mine.filename WHERE build_id = mine.build_id;
    PERFORM page_changed(release.project_id) FROM build JOIN release USING (release_id) WHERE build.build_id = mine.build_id;
    FOR sibling IN
        DELETE FROM queue USING build AS other, build AS made
        WHERE made.build_id = mine.build_id AND other.release_id = made.release_id AND other.target_id = ANY (served)
          AND queue.build_id = other.build_id AND queue.lease_id IS NULL
        RETURNING queue.build_id
    LOOP
        UPDATE build SET state = 'skipped', reason = 'served by ' || mine.filename WHERE build_id = sibling;
        PERFORM wake_siblings(sibling);
    END LOOP;
    PERFORM wake_siblings(mine.build_id);
    RETURN true;
END $$;

-- This wheel is, byte for byte, one that is published already: its build is, too. The row goes, since a published filename has one
-- wheel; the attempt stays. False where somebody published or refused it meanwhile.
CREATE OR REPLACE FUNCTION adopt_wheel(its_wheel bigint, published_filename text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    its_build bigint;
BEGIN
    DELETE FROM wheel
    WHERE wheel_id = its_wheel AND published_at IS NULL AND refused_reason IS NULL AND lost_at IS NULL
    RETURNING build_id INTO its_build;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE build SET state = 'published', reason = 'serves ' || published_filename WHERE build_id = its_build;
    PERFORM wake_siblings(its_build);
    RETURN true;
END $$;

-- The index host does not believe this wheel: its build has failed, and whoever waited for it starts.
CREATE OR REPLACE FUNCTION refuse_wheel(its_wheel bigint, why text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    its_build bigint;
BEGIN
    UPDATE wheel SET refused_reason = why
    WHERE wheel_id = its_wheel AND published_at IS NULL AND refused_reason IS NULL AND lost_at IS NULL
    RETURNING build_id INTO its_build;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE build SET state = 'failed', reason = 'publication refused the wheel: ' || why WHERE build_id = its_build;
    PERFORM wake_siblings(its_build);
    RETURN true;
END $$;

-- The wheel is gone from its builder's outbox before it could be published: build it again.
CREATE OR REPLACE FUNCTION lose_wheel(its_wheel bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    its_build bigint;
BEGIN
    UPDATE wheel SET lost_at = now()
    WHERE wheel_id = its_wheel AND published_at IS NULL AND refused_reason IS NULL AND lost_at IS NULL
    RETURNING build_id INTO its_build;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE build SET state = 'pending', reason = 'its wheel was lost with the outbox' WHERE build_id = its_build;
    PERFORM enqueue(its_build, 1, 60);
    RETURN true;
END $$;

-- Take a published wheel off its pages; its file stays at its URL.
CREATE OR REPLACE FUNCTION withdraw_wheel(its_wheel bigint, why text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE wheel SET withdrawn_at = now(), withdrawn_reason = why
    WHERE wheel_id = its_wheel AND published_at IS NOT NULL AND withdrawn_at IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM page_changed(release.project_id)
    FROM wheel JOIN build USING (build_id) JOIN release USING (release_id) WHERE wheel_id = its_wheel;
    RETURN true;
END $$;

-- Something that stands on a project's page has changed.
CREATE OR REPLACE FUNCTION page_changed(its_project integer) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO page_due (project_id) VALUES (its_project)
    ON CONFLICT (project_id) DO UPDATE SET changes = page_due.changes + 1
$$;

-- The page is on disk as it was read when page_due said changes: nothing more is due unless something changed since.
CREATE OR REPLACE FUNCTION page_written(its_project integer, seen_changes bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM page_due WHERE project_id = its_project AND changes = seen_changes
$$;
-- Who is connected: a builder is known by the role it logs in as and by nothing it says.
CREATE OR REPLACE FUNCTION my_builder() RETURNS builder
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    me builder;
BEGIN
    SELECT * INTO me FROM builder WHERE login = session_user AND standing <> 'retired';
    IF NOT FOUND THEN
        RAISE EXCEPTION '% is not a builder of this fleet', session_user USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN me;
END $$;

-- The builder lives: the leases it says it still holds last another term, and the builds it says it began are building. A lease
-- that it does not name expires soon: its batch was never delivered, or was lost with the spool. One that is being delivered at
-- this moment is named by the next heartbeat, long before.
CREATE OR REPLACE FUNCTION heartbeat(leases_held uuid[], begun bigint[], term interval) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    me builder := my_builder();
BEGIN
    UPDATE builder SET last_seen_at = now() WHERE builder_id = me.builder_id;
    UPDATE queue SET expires_at = now() + least(term, interval '1 day')
    WHERE builder_id = me.builder_id AND lease_id = ANY (leases_held);
    UPDATE queue SET expires_at = least(expires_at, now() + interval '15 minutes')
    WHERE builder_id = me.builder_id AND lease_id <> ALL (leases_held);
    UPDATE build SET state = 'building', reason = 'began on ' || me.name
    FROM queue
    WHERE queue.build_id = build.build_id AND queue.builder_id = me.builder_id AND queue.lease_id = ANY (leases_held)
      AND build.build_id = ANY (begun) AND build.state = 'leased';
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

-- Record how an attempt ended. Counts while the queue's row carries this lease id and this builder, expired or not; then the
-- answer is 'recorded'. 'already recorded' is the answer to a repetition, 'lease lost' to anything else, and neither changes a thing.
CREATE OR REPLACE FUNCTION record_attempt(
    of_lease uuid, of_build bigint, its_outcome outcome, its_start timestamptz, its_seconds real, its_peak_memory bigint,
    its_error_line text, its_log_tail text, its_toolchain text,
    wheel_filename text, wheel_sha256 text, wheel_size bigint
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    me         builder := my_builder();
    leased     queue;
    whose      blame;
    attempt_no bigint;
BEGIN
    SELECT * INTO leased FROM queue
    WHERE build_id = of_build AND lease_id = of_lease AND builder_id = me.builder_id
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN CASE WHEN EXISTS (
            SELECT FROM attempt WHERE build_id = of_build AND lease_id = of_lease AND builder_id = me.builder_id)
            THEN 'already recorded' ELSE 'lease lost' END;
    ELSIF (its_outcome = 'built') <> (wheel_filename IS NOT NULL) THEN
        RAISE EXCEPTION 'a wheel comes with the outcome built, and only with it' USING ERRCODE = 'check_violation';
    END IF;
    INSERT INTO attempt (build_id, lease_id, builder_id, outcome, started_at, seconds, peak_memory, error_line, log_tail, toolchain)
    VALUES (of_build, of_lease, me.builder_id, its_outcome, its_start, its_seconds, its_peak_memory,
            left(its_error_line, 1000), right(its_log_tail, 20000), left(its_toolchain, 1000))
    RETURNING attempt_id INTO attempt_no;
    SELECT blame INTO STRICT whose FROM outcome_meaning WHERE outcome = its_outcome;
    IF whose = 'none' THEN
        INSERT INTO wheel (build_id, attempt_id, filename, sha256, size)
        VALUES (of_build, attempt_no, wheel_filename, wheel_sha256, wheel_size);
        UPDATE build SET state = 'built', reason = 'built by ' || me.name WHERE build_id = of_build;
        DELETE FROM queue WHERE build_id = of_build;
    ELSIF whose = 'infrastructure' OR (whose = 'memory' AND leased.memory_class < 2) THEN
        PERFORM retry_build(of_build, its_outcome, whose = 'memory');
    ELSE
        UPDATE build SET state = 'failed', reason = its_outcome::text WHERE build_id = of_build;
        DELETE FROM queue WHERE build_id = of_build;
        PERFORM wake_siblings(of_build);
    END IF;
    RETURN 'recorded';
END $$;

-- Of what a builder keeps in its outbox, given as pairs of lease and build, those it may drop: published, refused, lost to another
-- lease, or without a wheel.
CREATE OR REPLACE FUNCTION settled(leases uuid[], builds bigint[]) RETURNS TABLE (lease_id uuid, build_id bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT kept.lease_id, kept.build_id
    FROM unnest(leases, builds) AS kept (lease_id, build_id)
    LEFT JOIN attempt ON attempt.lease_id = kept.lease_id AND attempt.build_id = kept.build_id
                     AND attempt.builder_id = (my_builder()).builder_id
    LEFT JOIN wheel ON wheel.attempt_id = attempt.attempt_id
    WHERE wheel.wheel_id IS NULL OR num_nonnulls(wheel.published_at, wheel.refused_reason, wheel.lost_at) > 0
$$;
-- What each role may do, and nothing more. The owner owns everything; nobody else may define or alter anything.
REVOKE ALL ON SCHEMA public FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, piwheels_dispatcher, piwheels_builder, piwheels_publisher, piwheels_reader;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public
    FROM PUBLIC, piwheels_dispatcher, piwheels_builder, piwheels_publisher, piwheels_reader;
GRANT USAGE ON SCHEMA public TO piwheels_dispatcher, piwheels_builder, piwheels_publisher, piwheels_reader;

-- reader: sees everything, changes nothing.
GRANT SELECT ON ALL TABLES IN SCHEMA public TO piwheels_reader;

-- dispatcher: keeps the catalogue, decides what is wanted, hands out leases. Cannot end a build or touch a wheel.
GRANT SELECT ON ALL TABLES IN SCHEMA public TO piwheels_dispatcher;
GRANT INSERT, UPDATE ON project, release TO piwheels_dispatcher;
GRANT INSERT, UPDATE, DELETE ON upstream_file, operator_instruction, opt_out TO piwheels_dispatcher;
GRANT EXECUTE ON FUNCTION want_build, skip_build, requeue_build, lease_batch, release_lease, reclaim_leases, wake_orphans,
    page_changed     TO piwheels_dispatcher;

-- builder: says that it lives and how its attempts ended. Reads no table at all.
GRANT EXECUTE ON FUNCTION heartbeat, record_attempt, settled TO piwheels_builder;

-- publisher: says what became of a wheel. Cannot lease, record or change the catalogue.
GRANT SELECT ON ALL TABLES IN SCHEMA public TO piwheels_publisher;
GRANT EXECUTE ON FUNCTION publish_wheel, adopt_wheel, refuse_wheel, lose_wheel, withdraw_wheel, page_written TO piwheels_publisher;
