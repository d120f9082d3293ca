-- A control chart of exponentially weighted moving averages (Roberts, 1959) for each builder: how often its latest attempts failed,
-- against how often they usually do. Written with every attempt, judged before dispatch.

-- The rate from which on an average with this weight of the latest observation has left its history: four standard deviations above the
-- usual rate, and margin above it at least, since few observations of rare events are far from a normal distribution. several is how many
-- equally weighted builders the average is of.
CREATE OR REPLACE FUNCTION breaker_limit(usual real, weight real, margin real, several real) RETURNS real
LANGUAGE sql IMMUTABLE AS $$
    SELECT (usual + greatest(4 * sqrt(usual * greatest(1 - usual, 0) * weight / (2 - weight) / several), margin))::real
$$;

-- A builder without a fault yet may have one in ten; one whose history is worse than three in ten is never fine.
CREATE OR REPLACE FUNCTION faults_limit(usual real, several real DEFAULT 1) RETURNS real LANGUAGE sql IMMUTABLE AS $$
    SELECT breaker_limit(least(greatest(usual, 0.1), 0.3)::real, 0.1::real, 0.3::real, several)
$$;

-- A fifth above the usual rate is enough for a fleet; but one project that fails everywhere moves all of it at once, so no less.
CREATE OR REPLACE FUNCTION failures_limit(usual real, several real DEFAULT 1) RETURNS real LANGUAGE sql IMMUTABLE AS $$
    SELECT breaker_limit(greatest(usual, 0.1)::real, 0.05::real, CASE WHEN several > 1 THEN 0.2 ELSE 0.35 END::real, several)
$$;

-- An average after one more observation, if that counts. Never quite nothing: a real that gets too small is an error.
CREATE OR REPLACE FUNCTION moved(average real, weight real, event boolean, counts boolean) RETURNS real LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN counts THEN greatest(average + weight * (event::integer - average), 0.000001) ELSE average END::real
$$;

-- Take an attempt into its builder's averages, as far as it is news of the builder. A project counts once among the last twenty: one
-- whose three hundred releases all fail says no more than one that fails once, and one whose three hundred releases all die no more
-- than one that dies once. A full disk kills those of every project. So a fault of the builder's own counts apart, as the project's
-- number below nothing: one that was built a moment ago may still say it, once. A build that failed before and fails again says
-- nothing (again), and neither does one that died before and dies again. An sdist that upstream has lost is its project's affair.
-- The usual rates stand still while the latest are beyond their limit, so that an alarm does not become the rule before it is heard.
CREATE OR REPLACE FUNCTION note_health(
    its_builder integer, its_priority smallint, its_project integer, its_outcome outcome, whose blame, again boolean
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    fault   boolean := whose = 'infrastructure';
    failure boolean := whose IN ('release', 'memory');
    subject integer := CASE WHEN fault AND its_outcome <> 'sdist_unavailable' THEN -its_project ELSE its_project END;
BEGIN
    UPDATE builder_health AS health SET
        faults_now = moved(faults_now, 0.1::real, fault, news.of_faults),
        faults_usual = moved(faults_usual, 0.002::real, fault, news.of_faults AND faults_now <= faults_limit(faults_usual)),
        faults_seen = faults_seen + news.of_faults::integer,
        failures_now = moved(failures_now, 0.05::real, failure, news.of_failures),
        failures_usual = moved(failures_usual, 0.002::real, failure,
                               news.of_failures AND failures_now <= failures_limit(failures_usual)),
        failures_seen = failures_seen + news.of_failures::integer,
        recent_projects = CASE WHEN news.of_project THEN (subject || recent_projects)[1:20] ELSE recent_projects END
    FROM (
        SELECT NOT fault OR NOT again AND fresh AS of_faults, NOT fault AND NOT again AND fresh AS of_failures,
               NOT again AND fresh AS of_project
        FROM (
            SELECT subject <> ALL (recent_projects) AS fresh
            FROM builder_health WHERE builder_id = its_builder AND priority = its_priority) AS seen
    ) AS news
    WHERE health.builder_id = its_builder AND health.priority = its_priority;
    IF NOT FOUND THEN
        -- Another connection of this builder's may have been first.
        INSERT INTO builder_health (builder_id, priority) VALUES (its_builder, its_priority) ON CONFLICT DO NOTHING;
        PERFORM note_health(its_builder, its_priority, its_project, its_outcome, whose, again);
    END IF;
END $$;

-- Which active builders have left their history, and how: the breaker's view of the fleet. At least five attempts are needed to
-- speak of faults, ten to speak of failures.
CREATE OR REPLACE VIEW builder_alarm AS
    SELECT DISTINCT ON (builder.builder_id) builder.builder_id, builder.name, alarm.reason
    FROM builder
    JOIN builder_health USING (builder_id)
    CROSS JOIN LATERAL (VALUES
        (1, faults_seen >= 5 AND faults_now > faults_limit(faults_usual), faults_now, faults_usual,
         'ended by a fault of the builder''s or its network'),
        (2, failures_seen >= 10 AND failures_now > failures_limit(failures_usual), failures_now, failures_usual, 'failed')
    ) AS stream (place, over, now, usual, what)
    CROSS JOIN LATERAL (
        SELECT format('%s %% of its latest attempts %s, usually %s %%', round(100 * now), what, round(100 * usual)) AS reason
    ) AS alarm
    WHERE standing = 'active' AND over
    ORDER BY builder.builder_id, place;

-- Whether the fleet as a whole has left its history, though no single builder has: the mean of all that are not in alarm
-- themselves, each by how much is known of it. Null while it has not.
CREATE OR REPLACE FUNCTION fleet_alarm() RETURNS text LANGUAGE sql STABLE AS $$
    WITH known AS (
        SELECT stream.place, priority, stream.now, stream.usual, least(stream.seen, 500)::real AS weight
        FROM builder
        JOIN builder_health USING (builder_id)
        CROSS JOIN LATERAL (VALUES
            (1, faults_now, faults_usual, faults_seen, 5), (2, failures_now, failures_usual, failures_seen, 10)
        ) AS stream (place, now, usual, seen, enough)
        WHERE standing = 'active' AND seen >= enough AND builder_id NOT IN (SELECT builder_id FROM builder_alarm)
    ), mean AS (
        SELECT place, (sum(weight * now) / sum(weight))::real AS now, (sum(weight * usual) / sum(weight))::real AS usual,
               (sum(weight) ^ 2 / sum(weight * weight))::real AS several, count(*) AS builders
        FROM known GROUP BY place, priority HAVING count(*) > 1
    )
    SELECT format('on %s builders together %s %% of the latest attempts %s, usually %s %%', builders, round(100 * now),
                  CASE place WHEN 1 THEN 'ended by faults of builders or network' ELSE 'failed' END, round(100 * usual))
    FROM mean
    WHERE now > CASE place WHEN 1 THEN faults_limit(usual, several) ELSE failures_limit(usual, several) END
    ORDER BY place LIMIT 1
$$;

-- Pause what has left its history, before anything is handed out: a builder; or everything, where more than half of several
-- builders did so or the fleet did as a whole, since then the builders are not to blame. The answer is what was paused, null for
-- everything, and why.
CREATE OR REPLACE FUNCTION trip_breaker() RETURNS TABLE (builder text, reason text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    alarmed  integer;
    active   integer;
    everyone text;
BEGIN
    IF EXISTS (SELECT FROM dispatch_pause) THEN
        RETURN;
    END IF;
    SELECT count(*) INTO alarmed FROM builder_alarm;
    SELECT count(*) INTO active FROM builder WHERE standing = 'active';
    everyone := CASE WHEN alarmed > 1 AND 2 * alarmed > active
        THEN format('%s of %s builders left their history at once; on %s, %s', alarmed, active,
                    (SELECT name FROM builder_alarm ORDER BY name LIMIT 1), (SELECT reason FROM builder_alarm ORDER BY name LIMIT 1))
        ELSE fleet_alarm() END;
    IF everyone IS NOT NULL THEN
        INSERT INTO dispatch_pause (reason, by_whom) VALUES (everyone, 'the breaker') ON CONFLICT DO NOTHING;
        RETURN QUERY SELECT NULL::text, everyone;
    ELSE
        RETURN QUERY
        UPDATE builder SET standing = 'paused', standing_reason = 'the breaker: ' || builder_alarm.reason
        FROM builder_alarm WHERE builder_alarm.builder_id = builder.builder_id AND builder.standing = 'active'
        RETURNING builder.name, builder.standing_reason;
    END IF;
END $$;

-- Hand out nothing more to an active builder, or to anybody where none is named. False where that was so already.
CREATE OR REPLACE FUNCTION pause_dispatch(its_name text, why text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF its_name IS NULL THEN
        INSERT INTO dispatch_pause (reason, by_whom) VALUES (why, session_user) ON CONFLICT DO NOTHING;
    ELSE
        UPDATE builder SET standing = 'paused', standing_reason = why WHERE name = its_name AND standing = 'active';
    END IF;
    RETURN FOUND;
END $$;

-- Hand out work again, to a paused builder, or after everything was paused. The present rates become the history: whoever resumes has
-- looked, and either mended the cause or finds the rates right. False where nothing was paused.
CREATE OR REPLACE FUNCTION resume_dispatch(its_name text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    resumed integer[];
    paused  boolean;
BEGIN
    IF its_name IS NULL THEN
        DELETE FROM dispatch_pause;
        paused := FOUND;
        SELECT array_agg(builder_id) INTO resumed FROM builder WHERE paused AND standing = 'active';
    ELSE
        UPDATE builder SET standing = 'active', standing_reason = NULL WHERE name = its_name AND standing = 'paused'
        RETURNING ARRAY[builder_id] INTO resumed;
        paused := FOUND;
    END IF;
    UPDATE builder_health
    SET faults_usual = faults_now, faults_seen = 0, failures_usual = failures_now, failures_seen = 0, recent_projects = '{}'
    WHERE builder_id = ANY (resumed);
    RETURN paused;
END $$;

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

-- The memory class that the next try of a build needs, after one that used peak bytes in a class: above four fifths of what a class may
-- use, the next one; after running out of memory, at least the class above that try's. Never more than any builder of its target has.
CREATE OR REPLACE FUNCTION class_needed(peak bigint, class_before smallint, ran_out boolean, of_target smallint) RETURNS smallint
LANGUAGE sql STABLE AS $$
    SELECT least(
        greatest((SELECT count(*) FROM memory_limit WHERE peak > 0.8 * bytes), CASE WHEN ran_out THEN class_before + 1 ELSE 0 END),
        coalesce(largest_class(of_target), 2))::smallint
$$;

-- The last word on how long a build will take and what memory it needs: the last five of its project's ten newest attempts that
-- ended by no fault of ours, else the caller's guess and the smallest class.
CREATE OR REPLACE FUNCTION expected_cost(wanted_build bigint, guess_seconds real, OUT seconds real, OUT memory_class smallint)
LANGUAGE sql STABLE AS $$
    WITH past AS (
        SELECT newest.seconds, class_needed(newest.peak_memory, newest.memory_class, blame = 'memory', build.target_id) AS class
        FROM build
        JOIN release USING (release_id)
        CROSS JOIN LATERAL (
            SELECT * FROM attempt WHERE attempt.project_id = release.project_id ORDER BY attempt_id DESC LIMIT 10
        ) AS newest
        JOIN outcome_meaning ON outcome_meaning.outcome = newest.outcome AND blame <> 'infrastructure'
        WHERE build.build_id = wanted_build
        ORDER BY newest.attempt_id DESC
        LIMIT 5
    )
    SELECT greatest(coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY past.seconds), guess_seconds), 0.1)::real,
           coalesce(max(past.class), 0)::smallint
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

-- Builds that stay as they are until somebody asks for them again, failed or parked, each with its last attempt (whose outcome is built
-- where publication refused the wheel). Each argument narrows the choice, null does not. missing, toolchain, target and builder are patterns of LIKE: toolchain of any one of its parts (which a
-- semicolon ends), builder of its name. text occurs in the error line, in whatever case.
CREATE OR REPLACE FUNCTION failed_builds(
    its_outcome outcome, its_missing text, its_toolchain text, its_target text, its_builder text, its_text text
) RETURNS TABLE (
    build_id bigint, release_id bigint, target_id smallint, attempt_id bigint, outcome outcome, blame blame, missing text,
    toolchain text, error_line text, seconds real, peak_memory bigint, memory_class smallint
)
LANGUAGE sql STABLE AS $$
    SELECT build.build_id, build.release_id, build.target_id, attempt.attempt_id, attempt.outcome, outcome_meaning.blame,
           attempt.missing, attempt.toolchain, attempt.error_line, attempt.seconds, attempt.peak_memory, attempt.memory_class
    FROM attempt
    JOIN build USING (build_id)
    JOIN target USING (target_id)
    JOIN builder USING (builder_id)
    JOIN outcome_meaning USING (outcome)
    WHERE (its_outcome IS NULL OR attempt.outcome = its_outcome)
      AND (its_missing IS NULL OR attempt.missing LIKE its_missing)
      AND (its_toolchain IS NULL OR EXISTS (
          SELECT FROM unnest(string_to_array(attempt.toolchain, '; ')) AS part WHERE part LIKE its_toolchain))
      AND (its_target IS NULL OR target.python || '-' || target.architecture || '-' || target.os_release LIKE its_target)
      AND (its_builder IS NULL OR builder.name LIKE its_builder)
      AND (its_text IS NULL OR strpos(lower(attempt.error_line), lower(its_text)) > 0)
      AND (build.state = 'failed'
           OR build.state = 'pending' AND EXISTS (SELECT FROM queue WHERE queue.build_id = build.build_id AND held IS NOT NULL))
      AND NOT EXISTS (
          SELECT FROM attempt AS later WHERE later.build_id = attempt.build_id AND later.attempt_id > attempt.attempt_id)
$$;

-- Want every such build again, all at once: the newest release of a project as such, the rest as back catalogue, as long and as large
-- as the last attempt says. Of one release the oldest target leads, as ever. The answer is how many are queued again.
CREATE OR REPLACE FUNCTION requeue_failures(
    why text, its_outcome outcome, its_missing text, its_toolchain text, its_target text, its_builder text, its_text text
) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    wanted bigint[];
BEGIN
    SELECT array_agg(build_id) INTO wanted
    FROM failed_builds(its_outcome, its_missing, its_toolchain, its_target, its_builder, its_text);
    UPDATE queue SET held = NULL, not_before = '-infinity', queued_at = now() WHERE build_id = ANY (wanted) AND held IS NOT NULL;
    WITH asked AS (
        UPDATE build SET state = 'pending', reason = why WHERE build_id = ANY (wanted) AND state = 'failed'
        RETURNING build_id, release_id, target_id
    ), led AS (
        SELECT asked.*, first_value(build_id) OVER (PARTITION BY release_id ORDER BY os_release.age, abi_order, build_id) AS leader
        FROM asked JOIN target USING (target_id) JOIN os_release USING (os_release)
    ), last AS (
        SELECT DISTINCT ON (build_id) attempt.*, blame FROM attempt JOIN outcome_meaning USING (outcome)
        WHERE build_id = ANY (wanted) ORDER BY build_id, attempt_id DESC
    )
    INSERT INTO queue (build_id, target_id, memory_class, priority, estimate_seconds, waits_for)
    SELECT build_id, target_id, class_needed(peak_memory, memory_class, blame = 'memory', target_id),
           CASE newest_first WHEN 1 THEN 1 ELSE 2 END, greatest(seconds, 0.1), nullif(leader, build_id)
    FROM led JOIN last USING (build_id) JOIN release USING (release_id)
    ON CONFLICT DO NOTHING;
    RETURN coalesce(cardinality(wanted), 0);
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
-- the same build: what another one holds at this moment is passed over, and so is a release whose sdist is gone. Nothing while the
-- builder or all dispatch is paused, or the builder has no room.
CREATE OR REPLACE FUNCTION lease_batch(to_builder text, budget_seconds real, most_builds integer, term interval)
RETURNS TABLE (
    lease_id uuid, build_id bigint, expires_at timestamptz, estimate_seconds real,
    memory_class smallint, project text, version text, python text, architecture text, os_release text,
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
    ELSIF me.standing <> 'active' OR NOT me.has_room OR EXISTS (SELECT FROM dispatch_pause) THEN
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
    SELECT new_id, queue.build_id, queue.expires_at, queue.estimate_seconds, queue.memory_class,
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

-- Start builds that wait for a sibling nobody can build: parked, or of a target without a builder large enough that is active or will
-- be again.
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
                WHERE builder_target.target_id = leader.target_id AND builder.standing IN ('active', 'paused')
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

-- The wheel was lost from its builder's outbox, or damaged, before it could be published: build it again. The third time within a
-- week the build is parked, since a disk that damages wheels would keep its builder busy for ever.
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
    UPDATE build SET state = 'pending', reason = 'its wheel was lost or damaged before it could be published' WHERE build_id = its_build;
    PERFORM enqueue(its_build, 1, 60);
    UPDATE queue SET held = format('its wheel was lost or damaged %s times before it could be published', losses)
    FROM (SELECT count(*) AS losses FROM wheel WHERE build_id = its_build AND lost_at > now() - interval '7 days') AS past
    WHERE queue.build_id = its_build AND losses >= 3;
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
-- this moment is named by the next heartbeat, long before. room says whether it may be given more: its disk and memory are not low.
CREATE OR REPLACE FUNCTION heartbeat(leases_held uuid[], begun bigint[], term interval, room boolean DEFAULT true) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    me builder := my_builder();
BEGIN
    UPDATE builder SET last_seen_at = now(), has_room = room WHERE builder_id = me.builder_id;
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

-- The largest memory class that any builder of this target has, whatever its standing, unless it is retired.
CREATE OR REPLACE FUNCTION largest_class(of_target smallint) RETURNS smallint LANGUAGE sql STABLE AS $$
    SELECT max(memory_class) FROM builder_target JOIN builder USING (builder_id)
    WHERE target_id = of_target AND standing <> 'retired'
$$;

-- Record how an attempt ended. Counts while the queue's row carries this lease id and this builder, expired or not; then the
-- answer is 'recorded'. 'already recorded' is the answer to a repetition, 'lease lost' to anything else, and neither changes a thing.
-- What ran out of memory fails where no builder of its target is large enough for the next class. A builder of an older version does
-- not say the last two.
CREATE OR REPLACE FUNCTION record_attempt(
    of_lease uuid, of_build bigint, its_outcome outcome, its_start timestamptz, its_seconds real, its_peak_memory bigint,
    its_error_line text, its_log_tail text, its_toolchain text,
    wheel_filename text, wheel_sha256 text, wheel_size bigint,
    its_mechanism text DEFAULT NULL, its_missing text DEFAULT NULL
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
        RETURN CASE WHEN EXISTS (
            SELECT FROM attempt WHERE build_id = of_build AND lease_id = of_lease AND builder_id = me.builder_id)
            THEN 'already recorded' ELSE 'lease lost' END;
    ELSIF (its_outcome = 'built') <> (wheel_filename IS NOT NULL) THEN
        RAISE EXCEPTION 'a wheel comes with the outcome built, and only with it' USING ERRCODE = 'check_violation';
    END IF;
    SELECT blame INTO STRICT whose FROM outcome_meaning WHERE outcome = its_outcome;
    SELECT project_id INTO STRICT its_project FROM build JOIN release USING (release_id) WHERE build_id = of_build;
    again := whose <> 'none' AND EXISTS (
        SELECT FROM attempt JOIN outcome_meaning USING (outcome) WHERE build_id = of_build AND blame = whose);
    INSERT INTO attempt (
        build_id, project_id, lease_id, builder_id, memory_class, outcome, started_at, seconds, peak_memory,
        error_line, log_tail, toolchain, mechanism, missing)
    VALUES (
        of_build, its_project, of_lease, me.builder_id, leased.memory_class, its_outcome, its_start, its_seconds, its_peak_memory,
        left(its_error_line, 1000), right(its_log_tail, 20000), left(its_toolchain, 1000), left(its_mechanism, 100),
        left(its_missing, 300))
    RETURNING attempt_id INTO attempt_no;
    PERFORM note_health(me.builder_id, leased.priority, its_project, its_outcome, whose, again);
    IF whose = 'none' THEN
        INSERT INTO wheel (build_id, attempt_id, filename, sha256, size)
        VALUES (of_build, attempt_no, wheel_filename, wheel_sha256, wheel_size);
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
    page_changed, requeue_failures, trip_breaker, pause_dispatch, resume_dispatch TO piwheels_dispatcher;
-- What asks, and changes nothing, runs with the caller's own rights.
GRANT EXECUTE ON FUNCTION failed_builds TO piwheels_dispatcher, piwheels_reader;

-- builder: says that it lives and how its attempts ended. Reads no table at all.
GRANT EXECUTE ON FUNCTION heartbeat, record_attempt, settled TO piwheels_builder;

-- publisher: says what became of a wheel. Cannot lease, record or change the catalogue.
GRANT SELECT ON ALL TABLES IN SCHEMA public TO piwheels_publisher;
GRANT EXECUTE ON FUNCTION publish_wheel, adopt_wheel, refuse_wheel, lose_wheel, withdraw_wheel, page_written TO piwheels_publisher;
