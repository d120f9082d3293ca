CREATE SCHEMA public;
COMMENT ON SCHEMA public IS 'standard public schema';
CREATE TYPE public.blame AS ENUM (
    'none',
    'release',
    'memory',
    'infrastructure'
);
CREATE TYPE public.build_state AS ENUM (
    'pending',
    'leased',
    'building',
    'built',
    'published',
    'failed',
    'skipped'
);
CREATE TYPE public.builder_standing AS ENUM (
    'active',
    'draining',
    'paused',
    'quarantined',
    'retired'
);
CREATE TYPE public.file_kind AS ENUM (
    'sdist',
    'wheel',
    'refused'
);
CREATE TYPE public.import_result AS ENUM (
    'passed',
    'failed',
    'untried',
    'not_needed'
);
CREATE TYPE public.instruction AS ENUM (
    'skip',
    'force'
);
CREATE TYPE public.outcome AS ENUM (
    'built',
    'version_mismatch',
    'requirement_unavailable',
    'requirement_without_wheel',
    'import_error',
    'python2_only',
    'python_api_gone',
    'compile_error',
    'missing_header',
    'missing_program',
    'needs_network',
    'prompted',
    'timeout',
    'stalled',
    'log_flood',
    'disk_limit',
    'process_limit',
    'no_wheel_made',
    'bad_wheel',
    'unimportable',
    'bad_sdist',
    'deliberate_refusal',
    'build_error',
    'out_of_memory',
    'disk_full',
    'killed',
    'lease_lost',
    'network_away',
    'sdist_unavailable',
    'builder_fault'
);
CREATE TYPE public.page_word AS ENUM (
    'withdraw',
    'yank',
    'quarantine'
);
CREATE FUNCTION public.admit_login(its_login text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
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
CREATE FUNCTION public.adopt_wheel(its_wheel bigint, published_filename text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    its_build bigint;
BEGIN
    DELETE FROM wheel
    WHERE wheel_id = its_wheel AND published_at IS NULL AND refused_reason IS NULL AND lost_at IS NULL
      AND EXISTS (SELECT FROM wheel_awaiting WHERE wheel_id = its_wheel)
    RETURNING build_id INTO its_build;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE build SET state = 'published', reason = 'serves ' || published_filename WHERE build_id = its_build;
    PERFORM wake_siblings(its_build);
    RETURN true;
END $$;
CREATE TABLE public.builder (
    builder_id integer NOT NULL,
    name text NOT NULL,
    login text NOT NULL,
    memory_class smallint NOT NULL,
    slots smallint DEFAULT 1 NOT NULL,
    standing public.builder_standing DEFAULT 'active'::public.builder_standing NOT NULL,
    standing_reason text,
    last_seen_at timestamp with time zone,
    has_room boolean DEFAULT true NOT NULL,
    certificate_serial numeric,
    host_keys text[],
    address text,
    session uuid,
    session_since timestamp with time zone,
    former_sessions uuid[] DEFAULT '{}'::uuid[] NOT NULL,
    trusted_until timestamp with time zone,
    slowness real DEFAULT 1 NOT NULL,
    temperature double precision,
    memory_free bigint,
    memory_total bigint,
    disk_free bigint,
    throttled boolean,
    under_voltage boolean,
    CONSTRAINT disk_free_is_sane CHECK (((disk_free >= 0) AND (disk_free <= ((1)::bigint << 50)))),
    CONSTRAINT former_sessions_are_few CHECK ((cardinality(former_sessions) <= 50)),
    CONSTRAINT memory_class_is_known CHECK (((memory_class >= 0) AND (memory_class <= 2))),
    CONSTRAINT memory_free_is_sane CHECK (((memory_free >= 0) AND (memory_free <= ((1)::bigint << 50)))),
    CONSTRAINT memory_total_is_sane CHECK (((memory_total >= 0) AND (memory_total <= ((1)::bigint << 50)))),
    CONSTRAINT slowness_is_sane CHECK (((slowness >= (0.01)::double precision) AND (slowness <= (100)::double precision))),
    CONSTRAINT temperature_is_sane CHECK (((temperature >= ('-100'::integer)::double precision) AND (temperature <= (200)::double precision)))
);
COMMENT ON COLUMN public.builder.memory_class IS '0: up to 1 GiB of memory, 1: up to 4 GiB, 2: more';
CREATE FUNCTION public.answer_without_lease(me public.builder, of_lease uuid, of_build bigint) RETURNS text
    LANGUAGE plpgsql
    AS $$
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
CREATE FUNCTION public.breaker_limit(usual real, weight real, margin real, several real) RETURNS real
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT (usual + greatest(4 * sqrt(usual * greatest(1 - usual, 0) * weight / (2 - weight) / several), margin))::real
$$;
CREATE FUNCTION public.build_again(builds bigint[], why text) RETURNS void
    LANGUAGE sql
    AS $$
    UPDATE build SET state = 'pending', reason = why WHERE build_id = ANY (builds) AND state IN ('built', 'failed');
    SELECT enqueue(build_id, CASE newest_first WHEN 1 THEN 1 ELSE 2 END, 60)
    FROM build JOIN release USING (release_id) WHERE build_id = ANY (builds) AND state = 'pending';
$$;
CREATE FUNCTION public.check_build_transition() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM build_transition WHERE before = OLD.state AND after = NEW.state) THEN
        RAISE EXCEPTION 'build % cannot go from % to %', OLD.build_id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'build_transition_is_known';
    END IF;
    NEW.changed_at := now();
    RETURN NEW;
END $$;
CREATE FUNCTION public.choose_leaving_hosted_pis(prefix text, keep integer, account jsonb, listed_at timestamp with time zone) RETURNS TABLE(name text, builds boolean)
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM compare_hosted_pis(prefix, account, listed_at);
    UPDATE hosted_pi SET cancel_wanted_at = CASE WHEN place <= surplus THEN coalesce(cancel_wanted_at, now()) END
    FROM (
        SELECT name AS its_name, count(*) OVER () - keep AS surplus,
               row_number() OVER (
                   ORDER BY cancel_wanted_at IS NULL, delivered_at IS NOT NULL, ordered_at DESC, hosted_pi.name DESC) AS place
        FROM hosted_pi WHERE starts_with(name, prefix) AND cancelled_at IS NULL
    ) AS ranked
    WHERE name = its_name;
    RETURN QUERY
    SELECT hosted_pi.name, EXISTS (SELECT FROM builder WHERE builder.name = hosted_pi.name AND standing <> 'retired')
    FROM hosted_pi
    WHERE starts_with(hosted_pi.name, prefix)
      AND ((cancel_wanted_at IS NOT NULL AND cancelled_at IS NULL)
           OR (cancelled_at IS NOT NULL
               AND hosted_pi.name IN (SELECT pi->>'name' FROM jsonb_array_elements(account) AS pi)))
    ORDER BY hosted_pi.name;
END $$;
CREATE FUNCTION public.class_needed(peak bigint, class_before smallint, ran_out boolean, of_target smallint) RETURNS smallint
    LANGUAGE sql STABLE
    AS $$
    -- Most need the smallest class: then the fleet's builders are not looked at.
    SELECT CASE WHEN needed = 0 THEN 0 ELSE least(needed, coalesce(largest_class(of_target), 2)) END::smallint
    FROM (
        SELECT greatest((SELECT count(*) FROM memory_limit WHERE peak > 0.8 * bytes),
                        CASE WHEN ran_out THEN class_before + 1 ELSE 0 END) AS needed) AS class
$$;
CREATE FUNCTION public.compare_hosted_pis(prefix text, account jsonb, listed_at timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    LOCK TABLE hosted_pi IN SHARE ROW EXCLUSIVE MODE;
    INSERT INTO hosted_pi (name, specification)
    SELECT pi->>'name', '{}' FROM jsonb_array_elements(account) AS pi
    ON CONFLICT (name) DO NOTHING;
    UPDATE hosted_pi SET delivered_at = now()
    FROM jsonb_array_elements(account) AS pi
    WHERE hosted_pi.name = pi->>'name' AND (pi->>'live')::boolean AND delivered_at IS NULL;
    UPDATE hosted_pi
    SET cancelled_at = now(),
        failure = CASE WHEN cancel_wanted_at IS NULL THEN 'it left the account, and this fleet had not cancelled it' ELSE failure END
    WHERE starts_with(name, prefix) AND cancelled_at IS NULL AND delivered_at < listed_at
      AND name NOT IN (SELECT pi->>'name' FROM jsonb_array_elements(account) AS pi);
END $$;
CREATE FUNCTION public.cost_of_project(its_project integer, its_target smallint, OUT seconds real, OUT memory_class smallint) RETURNS record
    LANGUAGE plpgsql STABLE
    AS $$
#variable_conflict use_column
BEGIN
    WITH past AS (
        SELECT newest.seconds, class_needed(newest.peak_memory, newest.memory_class, blame = 'memory', its_target) AS class
        FROM (SELECT * FROM attempt WHERE project_id = its_project ORDER BY attempt_id DESC LIMIT 10) AS newest
        JOIN outcome_meaning ON outcome_meaning.outcome = newest.outcome AND blame <> 'infrastructure'
        ORDER BY newest.attempt_id DESC
        LIMIT 5
    )
    SELECT (percentile_cont(0.5) WITHIN GROUP (ORDER BY past.seconds))::real, coalesce(max(past.class), 0)::smallint
    INTO cost_of_project.seconds, cost_of_project.memory_class
    FROM past;
END $$;
CREATE FUNCTION public.count_attempts() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    INSERT INTO statistic_change
    SELECT 'attempt ' || outcome, target_id, count(*), sum(seconds::float8)
    FROM after JOIN build USING (build_id) GROUP BY outcome, target_id;
    RETURN NULL;
END $$;
CREATE FUNCTION public.count_builds() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO statistic_change
        SELECT 'build ' || state, target_id, count(*), 0 FROM after GROUP BY state, target_id;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO statistic_change
        SELECT 'build ' || state, target_id, -count(*), 0 FROM before GROUP BY state, target_id;
    ELSE
        INSERT INTO statistic_change
        SELECT 'build ' || state, target_id, sum(number), 0
        FROM (SELECT state, target_id, -1 AS number FROM before UNION ALL SELECT state, target_id, 1 FROM after) AS change
        GROUP BY state, target_id HAVING sum(number) <> 0;
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION public.count_catalogue() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    INSERT INTO statistic_change SELECT TG_TABLE_NAME, 0, count(*), 0 FROM after HAVING count(*) > 0;
    RETURN NULL;
END $$;
CREATE FUNCTION public.count_downloads(of_log text, read_from bigint, now_read_to bigint, requests jsonb) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    asked record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('count_downloads'));
    INSERT INTO download_log (first_line, read_to) VALUES (of_log, 0) ON CONFLICT DO NOTHING;
    UPDATE download_log SET read_to = now_read_to, seen_at = now() WHERE first_line = of_log AND read_to = read_from;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO download_key (day, secret)
    SELECT DISTINCT (request ->> 'day')::date, uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
    FROM jsonb_array_elements(requests) AS request
    ON CONFLICT DO NOTHING;
    FOR asked IN
        WITH line AS (
            SELECT day, filename, project, bot, count(*) AS times,
                   substr(sha256(secret || convert_to(concat_ws(' ', client, filename, project), 'UTF8')), 1, 12) AS digest
            FROM jsonb_to_recordset(requests) AS request (day date, client text, bot boolean, filename text, project text)
            JOIN download_key USING (day)
            WHERE EXISTS (SELECT FROM wheel WHERE wheel.filename = request.filename AND published_at IS NOT NULL)
               OR EXISTS (SELECT FROM project WHERE name = request.project)
            GROUP BY day, filename, project, bot, digest
        ), first AS (
            INSERT INTO download_seen SELECT DISTINCT day, digest FROM line WHERE NOT bot ON CONFLICT DO NOTHING RETURNING day, digest
        ), counted AS (
            INSERT INTO download AS known (project_id, wheel_id, day, number, repeated, bots)
            SELECT project_id, wheel_id, line.day, count(first.digest),
                   coalesce(sum(times) FILTER (WHERE NOT bot), 0) - count(first.digest), coalesce(sum(times) FILTER (WHERE bot), 0)
            FROM line LEFT JOIN first ON NOT bot AND first.day = line.day AND first.digest = line.digest
            JOIN wheel ON wheel.filename = line.filename AND published_at IS NOT NULL
            JOIN build USING (build_id) JOIN release USING (release_id)
            GROUP BY project_id, wheel_id, line.day
            ON CONFLICT (project_id, wheel_id, day) DO UPDATE
            SET number = known.number + excluded.number, repeated = known.repeated + excluded.repeated,
                bots = known.bots + excluded.bots
        )
        SELECT line.project, count(*)::integer AS clients FROM line JOIN first USING (day, digest)
        WHERE line.project IS NOT NULL GROUP BY line.project ORDER BY line.project
    LOOP
        PERFORM note_demand(asked.project, '', asked.clients);
    END LOOP;
    RETURN true;
END $$;
CREATE FUNCTION public.count_power_cycle(its_name text) RETURNS void
    LANGUAGE sql
    SET search_path TO 'public', 'pg_temp'
    AS $$
    UPDATE hosted_pi SET power_cycles = vain_power_cycles(hosted_pi) + 1, power_cycled_at = now() WHERE name = its_name
$$;
CREATE FUNCTION public.count_queue() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO statistic_change
        SELECT queue_standing(lease_id, held, waits_for, memory_class) AS what, target_id, count(*), sum(estimate_seconds::float8)
        FROM after GROUP BY what, target_id;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO statistic_change
        SELECT queue_standing(lease_id, held, waits_for, memory_class) AS what, target_id, -count(*), -sum(estimate_seconds::float8)
        FROM before GROUP BY what, target_id;
    ELSE
        INSERT INTO statistic_change
        SELECT what, target_id, sum(sign), sum(sign * seconds)
        FROM (
            SELECT queue_standing(lease_id, held, waits_for, memory_class) AS what, target_id, -1 AS sign,
                   estimate_seconds::float8 AS seconds FROM before
            UNION ALL
            SELECT queue_standing(lease_id, held, waits_for, memory_class), target_id, 1, estimate_seconds FROM after
        ) AS change
        GROUP BY what, target_id HAVING sum(sign) <> 0 OR abs(sum(sign * seconds)) > 0.001;
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION public.count_wheels() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO statistic_change
        SELECT wheel_standing(filename, published_at, withdrawn_at) AS what, target_id, count(*), sum(size)
        FROM after JOIN build USING (build_id) WHERE published_at IS NOT NULL GROUP BY what, target_id;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO statistic_change
        SELECT wheel_standing(filename, published_at, withdrawn_at) AS what, target_id, -count(*), -sum(size)
        FROM before JOIN build USING (build_id) WHERE published_at IS NOT NULL GROUP BY what, target_id;
    ELSE
        INSERT INTO statistic_change
        SELECT what, target_id, sum(sign), sum(sign * size)
        FROM (
            SELECT build_id, wheel_standing(filename, published_at, withdrawn_at) AS what, size, -1 AS sign FROM before
            UNION ALL
            SELECT build_id, wheel_standing(filename, published_at, withdrawn_at), size, 1 FROM after
        ) AS change
        JOIN build USING (build_id)
        WHERE what IS NOT NULL GROUP BY what, target_id HAVING sum(sign) <> 0 OR sum(sign * size) <> 0;
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION public.demanded_priority(its_release bigint, otherwise integer) RETURNS smallint
    LANGUAGE plpgsql STABLE
    AS $$
BEGIN
    RETURN CASE WHEN EXISTS (
               SELECT FROM release JOIN project USING (project_id)
               JOIN demand ON demand.project = project.name
                          AND (demand.version = release.version OR (demand.version = '' AND release.newest_first = 1))
               WHERE release.release_id = its_release)
           THEN -1 ELSE otherwise END;
END $$;
CREATE FUNCTION public.distrust_builder(its_name text, since timestamp with time zone, why text, withdraw boolean) RETURNS TABLE(became text, project text, version text, target text, wheel text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
#variable_conflict use_column
DECLARE
    suspect integer;
    again   bigint[];
    served  bigint[];
BEGIN
    UPDATE builder
    SET standing = CASE standing WHEN 'retired' THEN standing ELSE 'quarantined' END, trusted_until = since,
        standing_reason = format('distrusted since %s: %s', date_trunc('second', since AT TIME ZONE 'UTC') || ' UTC', why)
    WHERE name = its_name RETURNING builder_id INTO suspect;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no builder is called %', its_name USING ERRCODE = 'no_data_found';
    END IF;
    PERFORM note_incident(suspect, 'distrusted: ' || why);
    PERFORM take_back_leases(suspect, its_name || ' is distrusted: ' || why);
    again := lose_wheels_of(suspect, since) || failures_of(suspect, since);
    PERFORM build_again(again, its_name || ' is distrusted: ' || why);
    again := again || unpark_builds_of(suspect, since);
    UPDATE attempt SET log_size = NULL
    WHERE builder_id = suspect AND recorded_at >= since AND log_size IS NOT NULL AND log_stored_at IS NULL;
    SELECT array_agg(wheel_id) INTO served FROM wheel JOIN attempt USING (attempt_id)
    WHERE attempt.builder_id = suspect AND attempt.recorded_at >= since AND published_at IS NOT NULL AND withdrawn_at IS NULL;
    IF withdraw THEN
        PERFORM withdraw_wheel(wheel_id, its_name || ' is distrusted: ' || why) FROM unnest(served) AS wheel_id;
    END IF;
    RETURN QUERY
    SELECT told.became, project.name, release.version,
           target.python || '-' || target.architecture || '-' || target.os_release, told.wheel
    FROM (
        SELECT 'queued again' AS became, again_id AS build_id, NULL AS wheel FROM unnest(again) AS again_id
        UNION ALL
        SELECT CASE WHEN withdraw THEN 'withdrawn' ELSE 'published' END, build_id, filename FROM wheel WHERE wheel_id = ANY (served)
    ) AS told
    JOIN build USING (build_id)
    JOIN release USING (release_id)
    JOIN project USING (project_id)
    JOIN target USING (target_id)
    ORDER BY told.became, project.name, release.newest_first;
END $$;
CREATE FUNCTION public.drop_demand(its_project text, its_version text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    DELETE FROM demand WHERE project = its_project AND version = its_version;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE queue SET priority = demanded_priority(build.release_id, CASE
        WHEN EXISTS (
            SELECT FROM operator_instruction AS word
            WHERE word.project = project.name AND word.version IN ('', release.version) AND word.instruction = 'force') THEN 0
        WHEN newest_first = 1 THEN 1 ELSE 2 END)
    FROM project JOIN release USING (project_id) JOIN build USING (release_id)
    WHERE project.name = its_project AND queue.build_id = build.build_id AND queue.priority = -1;
    RETURN true;
END $$;
CREATE FUNCTION public.end_delays() RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    UPDATE queue SET not_before = '-infinity'
    WHERE build_id IN (
        SELECT build_id FROM queue WHERE not_before > '-infinity' AND not_before <= now() FOR UPDATE SKIP LOCKED)
$$;
CREATE FUNCTION public.end_long_sessions(than interval) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    long_one record;
BEGIN
    FOR long_one IN
        SELECT pid, builder_id FROM pg_stat_activity JOIN builder ON builder.login = usename WHERE xact_start < now() - than
    LOOP
        PERFORM note_incident(long_one.builder_id, format('a transaction of more than %s, which was ended', than));
        PERFORM pg_terminate_backend(long_one.pid);
    END LOOP;
END $$;
CREATE FUNCTION public.enqueue(wanted_build bigint, its_priority integer, guess_seconds real, leader bigint DEFAULT NULL::bigint) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO queue (build_id, target_id, memory_class, priority, estimate_seconds, waits_for)
    SELECT build.build_id, build.target_id, cost.memory_class, demanded_priority(build.release_id, its_priority),
           greatest(coalesce(cost.seconds, guess_seconds), 0.1), unfinished(leader)
    FROM build
    JOIN release USING (release_id)
    CROSS JOIN LATERAL cost_of_project(release.project_id, build.target_id) AS cost
    WHERE build.build_id = wanted_build AND build.state = 'pending'
    ON CONFLICT (build_id) DO NOTHING;
END $$;
CREATE FUNCTION public.failed_builds(its_outcome public.outcome, its_missing text, its_toolchain text, its_target text, its_builder text, its_text text) RETURNS TABLE(build_id bigint, release_id bigint, target_id smallint, attempt_id bigint, outcome public.outcome, blame public.blame, missing text, toolchain text, error_line text, seconds real, peak_memory bigint, memory_class smallint)
    LANGUAGE sql STABLE
    AS $$
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
CREATE FUNCTION public.failures_limit(usual real, several real DEFAULT 1) RETURNS real
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT breaker_limit(greatest(usual, 0.1)::real, 0.05::real, CASE WHEN several > 1 THEN 0.2 ELSE 0.35 END::real, several)
$$;
CREATE FUNCTION public.failures_of(its_builder integer, since timestamp with time zone) RETURNS bigint[]
    LANGUAGE sql STABLE
    AS $$
    SELECT coalesce(array_agg(build_id), '{}')
    FROM attempt JOIN build USING (build_id)
    WHERE attempt.builder_id = its_builder AND attempt.recorded_at >= since AND build.state = 'failed'
      AND NOT EXISTS (
          SELECT FROM attempt AS later WHERE later.build_id = attempt.build_id AND later.attempt_id > attempt.attempt_id)
$$;
CREATE FUNCTION public.faults_limit(usual real, several real DEFAULT 1) RETURNS real
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT breaker_limit(least(greatest(usual, 0.1), 0.3)::real, 0.1::real, 0.3::real, several)
$$;
CREATE FUNCTION public.fleet_alarm() RETURNS text
    LANGUAGE sql STABLE
    AS $$
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
CREATE FUNCTION public.fold_downloads() RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    DELETE FROM download_key WHERE made_at < now() - interval '2 days';
    DELETE FROM download_log WHERE seen_at < now() - interval '60 days';
    WITH past AS (
        DELETE FROM download WHERE day < current_date - 90 AND day <> date_trunc('month', day) RETURNING *
    )
    INSERT INTO download AS known (project_id, wheel_id, day, number, repeated, bots)
    SELECT project_id, wheel_id, date_trunc('month', day)::date AS month, sum(number), sum(repeated), sum(bots)
    FROM past GROUP BY project_id, wheel_id, month
    ON CONFLICT (project_id, wheel_id, day) DO UPDATE
    SET number = known.number + excluded.number, repeated = known.repeated + excluded.repeated, bots = known.bots + excluded.bots;
$$;
CREATE FUNCTION public.fold_statistics() RETURNS void
    LANGUAGE sql
    SET search_path TO 'public', 'pg_temp'
    AS $$
    WITH folded AS (
        DELETE FROM statistic_change WHERE (SELECT pg_try_advisory_xact_lock(hashtext('fold_statistics'))) RETURNING *
    )
    INSERT INTO statistic
    SELECT what, target_id, sum(number), sum(amount) FROM folded GROUP BY what, target_id
    ON CONFLICT (what, target_id) DO UPDATE
    SET number = statistic.number + excluded.number, amount = statistic.amount + excluded.amount
$$;
CREATE FUNCTION public.hears_builders() RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'public', 'pg_temp'
    AS $$
    SELECT coalesce(max(last_seen_at) > now() - interval '10 minutes', true) FROM builder WHERE standing <> 'retired'
$$;
CREATE FUNCTION public.heartbeat(leases_held uuid[], begun bigint[], term interval, room boolean DEFAULT true, its_session uuid DEFAULT NULL::uuid, its_temperature double precision DEFAULT NULL::double precision, its_memory_free bigint DEFAULT NULL::bigint, its_memory_total bigint DEFAULT NULL::bigint, its_disk_free bigint DEFAULT NULL::bigint, is_throttled boolean DEFAULT NULL::boolean, is_under_voltage boolean DEFAULT NULL::boolean) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
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
CREATE FUNCTION public.is_one_host(me public.builder, its_session uuid) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
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
CREATE FUNCTION public.is_trusted(public.builder, recorded timestamp with time zone) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    AS $_$
    SELECT $1.standing <> 'quarantined' OR coalesce(recorded < $1.trusted_until, false)
$_$;
CREATE FUNCTION public.largest_class(of_target smallint) RETURNS smallint
    LANGUAGE sql STABLE
    AS $$
    SELECT max(memory_class) FROM builder_target JOIN builder USING (builder_id)
    WHERE target_id = of_target AND standing <> 'retired'
$$;
CREATE FUNCTION public.learn_estimates(most integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    until   bigint;
    changed integer;
BEGIN
    SELECT attempt_id INTO until FROM learned FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    WITH news AS MATERIALIZED (
        SELECT attempt_id, project_id, seconds / slowness AS seconds, estimate_seconds, blame,
               (SELECT count(*) FROM memory_limit WHERE peak_memory > 0.8 * bytes) > attempt.memory_class OR blame = 'memory' AS outgrown
        FROM attempt JOIN outcome_meaning USING (outcome) JOIN builder USING (builder_id)
        WHERE attempt_id > until ORDER BY attempt_id LIMIT most
    ), surprising AS (
        SELECT DISTINCT project_id FROM news
        WHERE blame IN ('none', 'release') AND (seconds < estimate_seconds / 2 OR seconds > estimate_seconds * 2)
           OR outgrown AND blame <> 'infrastructure'
    ), taught AS (
        SELECT project_id, greatest(median, 0.1)::real AS seconds, needed
        FROM surprising
        CROSS JOIN LATERAL (
            SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY last.seconds) AS median,
                   max(greatest((SELECT count(*) FROM memory_limit WHERE last.peak_memory > 0.8 * bytes),
                                CASE blame WHEN 'memory' THEN last.memory_class + 1 ELSE 0 END)) AS needed
            FROM (
                SELECT attempt.seconds / slowness AS seconds, peak_memory, attempt.memory_class, blame
                FROM attempt JOIN outcome_meaning USING (outcome) JOIN builder USING (builder_id)
                WHERE attempt.project_id = surprising.project_id AND blame <> 'infrastructure'
                ORDER BY attempt_id DESC LIMIT 5
            ) AS last
        ) AS past
    ), expected AS (
        SELECT queue.build_id, taught.seconds, greatest(queue.memory_class, larger) AS memory_class
        FROM taught JOIN release USING (project_id) JOIN build USING (release_id) JOIN queue USING (build_id)
        -- Most need the smallest class: then the fleet's builders are not looked at.
        CROSS JOIN LATERAL (
            SELECT CASE WHEN needed > queue.memory_class THEN least(needed, coalesce(largest_class(queue.target_id), 2))
                        ELSE 0 END AS larger) AS class
        WHERE queue.lease_id IS NULL
          AND (taught.seconds < queue.estimate_seconds / 1.5 OR taught.seconds > queue.estimate_seconds * 1.5
               OR larger > queue.memory_class)
        FOR UPDATE OF queue SKIP LOCKED
    ), changes AS (
        UPDATE queue SET estimate_seconds = expected.seconds, memory_class = expected.memory_class
        FROM expected WHERE expected.build_id = queue.build_id
        RETURNING queue.build_id
    ), seen AS (
        UPDATE learned SET attempt_id = (SELECT max(attempt_id) FROM news) WHERE EXISTS (SELECT FROM news)
    )
    SELECT count(*) INTO changed FROM changes;
    RETURN changed;
END $$;
CREATE FUNCTION public.lease_batch(to_builder text, budget_seconds real, most_builds integer, term interval, longest_seconds real DEFAULT 'Infinity'::real, critical_seconds real DEFAULT 'Infinity'::real) RETURNS TABLE(lease_id uuid, build_id bigint, expires_at timestamp with time zone, estimate_seconds real, memory_class smallint, project text, version text, python text, architecture text, os_release text, filename text, url text, sha256 text, size bigint, upload_time timestamp with time zone)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
#variable_conflict use_column
DECLARE
    me          builder;
    new_id      uuid := gen_random_uuid();
    chosen      bigint[];
    locked      bigint[];
    taken       bigint[] := '{}';
    passed_over bigint[] := '{}';
    reach       integer := most_builds;
    wanted      integer;
BEGIN
    IF NOT EXISTS (SELECT FROM builder WHERE name = to_builder) THEN
        RAISE EXCEPTION 'no builder is called %', to_builder USING ERRCODE = 'no_data_found';
    END IF;
    -- Its standing cannot change until these leases are there to be taken back. Whose row is being changed gets its builds next time:
    -- waiting for a heartbeat, which may wait for leases that were reclaimed a moment ago, would be a deadlock.
    SELECT * INTO me FROM builder WHERE name = to_builder FOR SHARE SKIP LOCKED;
    IF NOT FOUND OR me.standing <> 'active' OR NOT me.has_room OR EXISTS (SELECT FROM dispatch_pause) THEN
        RETURN;
    END IF;
    PERFORM take_turn();
    LOOP
        chosen := next_builds(
            me, CASE WHEN wanted IS NULL THEN budget_seconds ELSE 'Infinity' END::real, reach, longest_seconds, critical_seconds,
            passed_over);
        EXIT WHEN chosen IS NULL;
        wanted := coalesce(wanted, cardinality(chosen));
        SELECT array_agg(build_id ORDER BY place) INTO locked
        FROM (
            SELECT free.build_id, place
            FROM unnest(chosen) WITH ORDINALITY AS wish (build_id, place)
            JOIN queue AS free USING (build_id)
            JOIN build USING (build_id)
            -- Asked again, since it may have been leased and come back since it was chosen. Upstream may have dropped its sdist.
            WHERE free.lease_id IS NULL AND free.held IS NULL AND free.waits_for IS NULL AND free.not_before = '-infinity'
              AND EXISTS (SELECT FROM upstream_file WHERE upstream_file.release_id = build.release_id AND kind = 'sdist')
            ORDER BY place
            LIMIT wanted - cardinality(taken)
            FOR UPDATE OF free SKIP LOCKED) AS mine;
        taken := taken || coalesce(locked, '{}');
        EXIT WHEN cardinality(taken) >= wanted;
        -- Others are at the same place in the queue, without a turn. To look further ahead is to meet them a few times and not sixty.
        passed_over := passed_over || chosen;
        reach := least(reach * 8, 5000);
    END LOOP;
    IF taken = '{}' THEN
        RETURN;
    END IF;
    -- By primary key alone: any other index of the queue may hold millions.
    UPDATE queue SET lease_id = new_id, builder_id = me.builder_id, expires_at = now() + term WHERE build_id = ANY (taken);
    UPDATE build SET state = 'leased', reason = 'leased to ' || me.name WHERE build_id = ANY (taken);
    INSERT INTO lease (lease_id, builder_id, builds) VALUES (new_id, me.builder_id, taken);
    RETURN QUERY
    SELECT new_id, queue.build_id, queue.expires_at, queue.estimate_seconds, queue.memory_class,
           project.name, release.version, target.python, target.architecture, target.os_release,
           sdist.filename, sdist.url, sdist.sha256, sdist.size, sdist.upload_time
    FROM unnest(taken) WITH ORDINALITY AS line (build_id, place)
    JOIN queue ON queue.build_id = line.build_id
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
CREATE FUNCTION public.listings_written(seen_changes bigint, its_names integer) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    UPDATE listing SET written = seen_changes, written_at = now(), names = its_names WHERE written <= seen_changes
$$;
CREATE FUNCTION public.log_stored(its_attempt bigint, its_filename text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    UPDATE attempt
    SET log_stored_at = CASE WHEN its_filename IS NOT NULL THEN now() END,
        log_size = CASE WHEN its_filename IS NOT NULL THEN log_size END,
        log_tail = CASE WHEN its_filename IS NULL THEN log_tail END
    WHERE attempt_id = its_attempt AND log_size IS NOT NULL AND log_stored_at IS NULL;
    RETURN FOUND;
END $$;
CREATE FUNCTION public.lose_wheel(its_wheel bigint) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
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
CREATE FUNCTION public.lose_wheels_of(its_builder integer, since timestamp with time zone) RETURNS bigint[]
    LANGUAGE sql
    AS $$
    WITH lost AS (
        UPDATE wheel SET lost_at = now()
        FROM attempt
        WHERE attempt.attempt_id = wheel.attempt_id AND attempt.builder_id = its_builder AND attempt.recorded_at >= since
          AND wheel.published_at IS NULL AND wheel.refused_reason IS NULL AND wheel.lost_at IS NULL
        RETURNING wheel.build_id
    )
    SELECT coalesce(array_agg(build_id), '{}') FROM lost
$$;
CREATE FUNCTION public.make_pages_due(names text[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    INSERT INTO page_due (project_id)
    SELECT DISTINCT release.project_id
    FROM wheel JOIN build USING (build_id) JOIN release USING (release_id)
    WHERE wheel.published_at IS NOT NULL
    UNION
    SELECT project_id FROM project WHERE name = ANY (names)
    UNION
    SELECT project_id FROM page_instruction JOIN project ON project.name = page_instruction.project
    ORDER BY project_id
    ON CONFLICT DO NOTHING
$$;
CREATE FUNCTION public.may_be_wheel_of(its_build bigint, filename text) RETURNS boolean
    LANGUAGE sql STABLE STRICT
    AS $_$
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
$_$;
CREATE FUNCTION public.mind_silent_hosted_pis(prefix text, silence interval, most integer) RETURNS TABLE(name text, quarantined boolean)
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
#variable_conflict use_column
DECLARE
    silent hosted_pi;
BEGIN
    FOR silent IN SELECT * FROM silent_hosted_pis(prefix, silence) LOOP
        quarantined := vain_power_cycles(silent) >= most;
        IF quarantined THEN
            PERFORM suspect_builder(
                silent.name, format('silent for %s, and power-cycled %s times for that', silence, silent.power_cycles), true);
        ELSE
            PERFORM count_power_cycle(silent.name);
        END IF;
        name := silent.name;
        RETURN NEXT;
    END LOOP;
END $$;
CREATE FUNCTION public.moved(average real, weight real, event boolean, counts boolean) RETURNS real
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT CASE WHEN counts THEN greatest(average + weight * (event::integer - average), 0.000001) ELSE average END::real
$$;
CREATE FUNCTION public.my_builder() RETURNS public.builder
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
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
CREATE FUNCTION public.next_builds(for_builder public.builder, budget_seconds real, most_builds integer, longest_seconds real, critical_seconds real, passed_over bigint[]) RETURNS bigint[]
    LANGUAGE sql STABLE
    AS $$
    WITH head AS (
        SELECT candidate.*
        FROM builder_target
        CROSS JOIN generate_series(0, for_builder.memory_class) AS class
        CROSS JOIN LATERAL (
            (SELECT queue.build_id, queue.priority, queue.memory_class, queue.estimate_seconds * for_builder.slowness AS seconds
             FROM queue
             WHERE queue.target_id = builder_target.target_id AND queue.memory_class = class
               AND queue.lease_id IS NULL AND queue.waits_for IS NULL AND queue.held IS NULL AND queue.not_before = '-infinity'
               AND NOT (queue.priority = 2 AND queue.estimate_seconds >= critical_seconds)
               AND queue.estimate_seconds <= longest_seconds / for_builder.slowness AND queue.build_id <> ALL (passed_over)
             ORDER BY queue.priority, queue.estimate_seconds DESC, queue.build_id
             LIMIT most_builds)
            UNION ALL
            (SELECT queue.build_id, 1, queue.memory_class, queue.estimate_seconds * for_builder.slowness
             FROM queue
             WHERE queue.target_id = builder_target.target_id AND queue.memory_class = class
               AND queue.lease_id IS NULL AND queue.waits_for IS NULL AND queue.held IS NULL AND queue.not_before = '-infinity'
               AND queue.priority = 2 AND queue.estimate_seconds >= critical_seconds
               AND queue.estimate_seconds <= longest_seconds / for_builder.slowness AND queue.build_id <> ALL (passed_over)
             ORDER BY queue.estimate_seconds DESC, queue.build_id
             LIMIT most_builds)
        ) AS candidate
        WHERE builder_target.builder_id = for_builder.builder_id
    ), ranked AS (
        SELECT head.build_id,
               row_number() OVER line AS place,
               sum(head.counted) OVER line - head.counted AS seconds_before
        FROM (SELECT *, least(seconds, budget_seconds / for_builder.slots) AS counted FROM head) AS head
        WINDOW line AS (ORDER BY priority, memory_class DESC, seconds DESC, build_id)
    )
    SELECT array_agg(build_id ORDER BY place)
    FROM ranked WHERE place <= most_builds AND (place = 1 OR seconds_before < budget_seconds)
$$;
CREATE FUNCTION public.note_demand(its_project text, its_version text, times integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    hastened integer;
BEGIN
    IF NOT EXISTS (SELECT FROM project WHERE name = its_project)
       OR (its_version <> '' AND NOT EXISTS (
           SELECT FROM release JOIN project USING (project_id) WHERE name = its_project AND version = its_version)) THEN
        RETURN NULL;
    END IF;
    INSERT INTO demand (project, version, asked) VALUES (its_project, its_version, times)
    ON CONFLICT ON CONSTRAINT one_demand_each
    DO UPDATE SET asked = least(demand.asked::bigint + excluded.asked, 2147483647), asked_last_at = now();
    WITH hurried AS (
        UPDATE queue SET priority = -1
        FROM project JOIN release USING (project_id) JOIN build USING (release_id)
        WHERE project.name = its_project AND CASE its_version WHEN '' THEN newest_first = 1 ELSE release.version = its_version END
          AND queue.build_id = build.build_id AND queue.priority > -1
        RETURNING queue.build_id
    )
    SELECT count(*) INTO hastened FROM hurried;
    RETURN hastened;
END $$;
CREATE FUNCTION public.note_health(its_builder integer, its_priority smallint, its_project integer, its_outcome public.outcome, whose public.blame, again boolean) RETURNS void
    LANGUAGE plpgsql
    AS $$
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
CREATE FUNCTION public.note_incident(its_builder integer, deed text) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    said text := left(regexp_replace(deed COLLATE "C", '[^ -~]', '?', 'g'), 500);
    rows_this_hour bigint;
BEGIN
    SELECT count(*) INTO rows_this_hour FROM incident WHERE builder_id = its_builder AND at > now() - interval '1 hour';
    IF rows_this_hour >= 200 THEN
        said := 'deeds beyond two hundred within an hour, which are not told one by one';
    END IF;
    UPDATE incident SET times = times + 1, last_at = now()
    WHERE incident_id = (
        SELECT incident_id FROM incident WHERE builder_id = its_builder AND at > now() - interval '1 hour' AND what = said
        ORDER BY incident_id DESC LIMIT 1);
    IF NOT FOUND THEN
        INSERT INTO incident (builder_id, what) VALUES (its_builder, said);
    END IF;
END $$;
CREATE FUNCTION public.note_libraries(its_wheel bigint, names text[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $_$
    UPDATE wheel SET libraries = (
        SELECT coalesce(jsonb_object_agg(name, CASE WHEN libraries ->> name ~ '^[a-z0-9][a-z0-9+.-]{1,100}$' THEN libraries ->> name END), '{}')
        FROM unnest(names) AS name)
    WHERE wheel_id = its_wheel AND published_at IS NULL
$_$;
CREATE FUNCTION public.page_changed(its_project integer) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    INSERT INTO page_due (project_id) VALUES (its_project)
    ON CONFLICT (project_id) DO UPDATE SET changes = page_due.changes + 1
$$;
CREATE FUNCTION public.pages_come_or_go(projects integer[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    INSERT INTO page_due (project_id, comes_or_goes) SELECT unnest(projects), true ORDER BY 1
    ON CONFLICT (project_id) DO UPDATE SET comes_or_goes = true
$$;
CREATE FUNCTION public.pages_written(projects integer[], seen_changes bigint[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    WITH booked AS (
        DELETE FROM page_due USING unnest(projects, seen_changes) AS seen (project_id, changes)
        WHERE page_due.project_id = seen.project_id AND page_due.changes = seen.changes
        RETURNING comes_or_goes
    )
    UPDATE listing SET changes = changes + 1 WHERE EXISTS (SELECT FROM booked WHERE comes_or_goes)
$$;
CREATE FUNCTION public.pause_dispatch(its_name text, why text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    IF its_name IS NULL THEN
        INSERT INTO dispatch_pause (reason, by_whom) VALUES (why, session_user) ON CONFLICT DO NOTHING;
    ELSE
        UPDATE builder SET standing = 'paused', standing_reason = why WHERE name = its_name AND standing = 'active';
    END IF;
    RETURN FOUND;
END $$;
CREATE FUNCTION public.plan_hosted_pis(prefix text, wanted integer, its_specification jsonb, account jsonb, listed_at timestamp with time zone, builders text[]) RETURNS TABLE(name text, specification jsonb, seen boolean)
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $_$
#variable_conflict use_column
DECLARE
    there     integer;
    delivered integer;
    highest   bigint;
BEGIN
    PERFORM compare_hosted_pis(prefix, account, listed_at);
    SELECT count(*), count(delivered_at) INTO there, delivered
    FROM hosted_pi WHERE starts_with(name, prefix) AND cancel_wanted_at IS NULL AND cancelled_at IS NULL;
    SELECT coalesce(max(substr(name, length(prefix) + 1)::bigint), 0) INTO highest
    FROM hosted_pi WHERE starts_with(name, prefix) AND substr(name, length(prefix) + 1) ~ '^[0-9]{1,15}$';
    INSERT INTO hosted_pi (name, specification)
    SELECT prefix || CASE WHEN number < 10 THEN '0' ELSE '' END || number, its_specification
    FROM generate_series(highest + 1, highest + wanted - there) AS number;
    RETURN QUERY
    SELECT open.name, open.specification, open.seen
    FROM (
        SELECT hosted_pi.*, seen, row_number() OVER (PARTITION BY delivered_at IS NULL ORDER BY seen DESC, ordered_at, name) AS place
        FROM hosted_pi
        CROSS JOIN LATERAL (
            SELECT EXISTS (SELECT FROM jsonb_array_elements(account) AS pi WHERE pi->>'name' = hosted_pi.name) AS seen
        ) AS listed
        WHERE starts_with(name, prefix) AND cancel_wanted_at IS NULL AND cancelled_at IS NULL
    ) AS open
    WHERE CASE WHEN open.delivered_at IS NULL THEN open.seen OR open.place <= wanted - delivered
               ELSE open.name <> ALL (builders) END
    ORDER BY open.name;
END $_$;
CREATE FUNCTION public.possible_bytes(said bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT CASE WHEN said BETWEEN 0 AND 1::bigint << 50 THEN said END
$$;
CREATE FUNCTION public.publish_twin(its_wheel bigint, its_filename text, its_sha256 text, its_size bigint) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    INSERT INTO wheel (build_id, twin_of, filename, sha256, size, requires_python, metadata_sha256, glibc_floor, published_at,
                       import_result, import_detail, libraries)
    SELECT build_id, wheel_id, its_filename, its_sha256, its_size, requires_python, metadata_sha256, glibc_floor, now(),
           import_result, import_detail, libraries
    FROM wheel
    WHERE wheel_id = its_wheel AND published_at IS NOT NULL AND withdrawn_at IS NULL AND twin_of IS NULL
    ON CONFLICT (twin_of) DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM page_changed(release.project_id)
    FROM wheel JOIN build USING (build_id) JOIN release USING (release_id) WHERE wheel_id = its_wheel;
    RETURN true;
END $$;
CREATE FUNCTION public.publish_wheel(its_wheel bigint, its_filename text, its_sha256 text, its_size bigint, its_requires_python text, its_metadata_sha256 text, its_glibc_floor text, served smallint[]) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    mine    wheel;
    sibling bigint;
BEGIN
    UPDATE wheel
    SET published_at = now(), filename = its_filename, sha256 = its_sha256, size = its_size,
        requires_python = its_requires_python, metadata_sha256 = its_metadata_sha256, glibc_floor = its_glibc_floor
    WHERE wheel_id = its_wheel AND published_at IS NULL AND refused_reason IS NULL AND lost_at IS NULL
      AND EXISTS (SELECT FROM wheel_awaiting WHERE wheel_id = its_wheel)
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
CREATE FUNCTION public.quarantine_builder(its_builder integer, why text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM note_incident(its_builder, why);
    UPDATE builder SET standing = 'quarantined', standing_reason = left(regexp_replace(why COLLATE "C", '[^ -~]', '?', 'g'), 500),
                       trusted_until = NULL
    WHERE builder_id = its_builder AND standing NOT IN ('quarantined', 'retired');
END $$;
CREATE FUNCTION public.queue_standing(lease_id uuid, held text, waits_for bigint, memory_class smallint) RETURNS text
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT CASE WHEN lease_id IS NOT NULL THEN 'queue leased'
                WHEN held IS NOT NULL THEN 'queue held'
                WHEN waits_for IS NOT NULL THEN 'queue waiting'
                ELSE 'queue free ' || memory_class END
$$;
CREATE FUNCTION public.reclaim_leases(term interval) RETURNS integer
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    DELETE FROM lease WHERE leased_at < now() - interval '60 days';
    DELETE FROM incident WHERE last_at < now() - interval '60 days';
    DELETE FROM demand WHERE asked_last_at < now() - interval '60 days';
    SELECT end_long_sessions('10 minutes');
    SELECT fold_statistics();
    WITH reclaimed AS (
        UPDATE queue SET lease_id = NULL, builder_id = NULL, expires_at = NULL
        WHERE lease_id IS NOT NULL AND expires_at < now() AND pg_postmaster_start_time() < now() - term
          AND hears_builders()
        RETURNING build_id
    ), told AS (
        UPDATE build SET state = 'pending', reason = 'lease expired and was reclaimed'
        FROM reclaimed WHERE reclaimed.build_id = build.build_id
        RETURNING build.build_id
    )
    SELECT count(*)::integer FROM told
$$;
CREATE FUNCTION public.record_attempt(of_lease uuid, of_build bigint, its_outcome public.outcome, its_start timestamp with time zone, its_seconds real, its_peak_memory bigint, its_error_line text, its_log_tail text, its_toolchain text, wheel_filename text, wheel_sha256 text, wheel_size bigint, its_mechanism text DEFAULT NULL::text, its_missing text DEFAULT NULL::text, its_log_size bigint DEFAULT NULL::bigint, its_import public.import_result DEFAULT NULL::public.import_result, its_import_detail text DEFAULT NULL::text, its_libraries jsonb DEFAULT NULL::jsonb) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
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
CREATE FUNCTION public.recount_statistics() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    LOCK TABLE project, release, build, queue, attempt, wheel IN SHARE MODE;
    DELETE FROM statistic;
    DELETE FROM statistic_change;
    INSERT INTO statistic
    SELECT 'project', 0, count(*), 0 FROM project
    UNION ALL
    SELECT 'release', 0, count(*), 0 FROM release
    UNION ALL
    SELECT 'build ' || state, target_id, count(*), 0 FROM build GROUP BY state, target_id
    UNION ALL
    SELECT queue_standing(lease_id, held, waits_for, memory_class) AS what, target_id, count(*), sum(estimate_seconds::float8)
    FROM queue GROUP BY what, target_id
    UNION ALL
    SELECT 'attempt ' || outcome, target_id, count(*), sum(seconds::float8)
    FROM attempt JOIN build USING (build_id) GROUP BY outcome, target_id
    UNION ALL
    SELECT wheel_standing(filename, published_at, withdrawn_at) AS what, target_id, count(*), sum(size)
    FROM wheel JOIN build USING (build_id) WHERE published_at IS NOT NULL GROUP BY what, target_id;
END $$;
CREATE FUNCTION public.refuse_wheel(its_wheel bigint, why text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
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
CREATE FUNCTION public.register_builder(its_name text, its_memory_class integer, its_slots integer, its_targets smallint[], its_certificate_serial numeric DEFAULT NULL::numeric, its_host_keys text[] DEFAULT NULL::text[], its_address text DEFAULT NULL::text, its_slowness real DEFAULT 1) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $_$
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
END $_$;
CREATE FUNCTION public.release_lease(of_lease uuid, why text) RETURNS integer
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    WITH given_back AS (
        UPDATE queue SET lease_id = NULL, builder_id = NULL, expires_at = NULL
        FROM lease
        WHERE lease.lease_id = of_lease AND queue.lease_id = of_lease AND queue.builder_id = lease.builder_id
        RETURNING build_id
    ), told AS (
        UPDATE build SET state = 'pending', reason = why FROM given_back WHERE given_back.build_id = build.build_id
        RETURNING build.build_id
    )
    SELECT count(*)::integer FROM told
$$;
CREATE FUNCTION public.replicas() RETURNS TABLE(name text, state text, behind_bytes bigint, behind_seconds double precision, kept_bytes bigint, room_bytes bigint)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT slot_name::text,
           CASE WHEN wal_status = 'lost' THEN 'lost'
                WHEN NOT active THEN 'away'
                WHEN sender.state = 'streaming' THEN 'streaming'
                ELSE 'catching up' END,
           pg_wal_lsn_diff(pg_current_wal_lsn(), coalesce(sender.replay_lsn, restart_lsn))::bigint,
           extract(epoch FROM sender.replay_lag)::double precision,
           pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint,
           safe_wal_size
    FROM pg_replication_slots LEFT JOIN pg_stat_replication AS sender ON sender.pid = active_pid
    WHERE slot_type = 'physical' AND starts_with(slot_name::text, 'replica_')
$$;
CREATE FUNCTION public.requeue_build(wanted_build bigint, why text, its_priority integer DEFAULT 0) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
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
CREATE FUNCTION public.requeue_failures(why text, its_outcome public.outcome, its_missing text, its_toolchain text, its_target text, its_builder text, its_text text) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
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
           demanded_priority(release_id, CASE newest_first WHEN 1 THEN 1 ELSE 2 END), greatest(seconds, 0.1), nullif(leader, build_id)
    FROM led JOIN last USING (build_id) JOIN release USING (release_id)
    ON CONFLICT DO NOTHING;
    RETURN coalesce(cardinality(wanted), 0);
END $$;
CREATE FUNCTION public.resume_dispatch(its_name text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    resumed integer[];
    paused  boolean;
BEGIN
    IF its_name IS NULL THEN
        DELETE FROM dispatch_pause;
        paused := FOUND;
        SELECT array_agg(builder_id) INTO resumed FROM builder WHERE paused AND standing = 'active';
    ELSE
        UPDATE builder
        SET standing = 'active', standing_reason = NULL, trusted_until = NULL, session = NULL, session_since = NULL, former_sessions = '{}'
        WHERE name = its_name AND standing IN ('paused', 'quarantined')
        RETURNING ARRAY[builder_id] INTO resumed;
        paused := FOUND;
    END IF;
    UPDATE builder_health
    SET faults_usual = faults_now, faults_seen = 0, failures_usual = failures_now, failures_seen = 0, recent_projects = '{}'
    WHERE builder_id = ANY (resumed);
    RETURN paused;
END $$;
CREATE FUNCTION public.retire_builder(its_name text, why text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
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
CREATE FUNCTION public.retry_build(its_build bigint, fault public.outcome, larger boolean) RETURNS void
    LANGUAGE plpgsql
    AS $$
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
CREATE FUNCTION public.settle_hosted_pi(its_name text, its_failure text) RETURNS void
    LANGUAGE sql
    SET search_path TO 'public', 'pg_temp'
    AS $$
    UPDATE hosted_pi
    SET delivered_at = CASE WHEN its_failure IS NULL THEN coalesce(delivered_at, now()) ELSE delivered_at END,
        failure = left(regexp_replace(its_failure COLLATE "C", '[^ -~]', '?', 'g'), 500)
    WHERE name = its_name
$$;
CREATE FUNCTION public.settled(leases uuid[], builds bigint[]) RETURNS TABLE(lease_id uuid, build_id bigint)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
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
CREATE TABLE public.hosted_pi (
    name text NOT NULL,
    specification jsonb NOT NULL,
    ordered_at timestamp with time zone DEFAULT now() NOT NULL,
    delivered_at timestamp with time zone,
    cancel_wanted_at timestamp with time zone,
    cancelled_at timestamp with time zone,
    failure text,
    power_cycles integer DEFAULT 0 NOT NULL,
    power_cycled_at timestamp with time zone,
    CONSTRAINT hosted_pi_is_a_name CHECK ((name ~ '^[a-z0-9][a-z0-9-]{1,18}[a-z0-9]$'::text))
);
CREATE FUNCTION public.silent_hosted_pis(prefix text, silence interval) RETURNS SETOF public.hosted_pi
    LANGUAGE sql STABLE
    SET search_path TO 'public', 'pg_temp'
    AS $$
    SELECT hosted_pi.* FROM hosted_pi JOIN builder USING (name)
    WHERE starts_with(name, prefix) AND delivered_at IS NOT NULL AND cancel_wanted_at IS NULL AND cancelled_at IS NULL
      AND standing NOT IN ('quarantined', 'retired') AND greatest(last_seen_at, power_cycled_at) < now() - silence
      AND last_seen_at IS NOT NULL AND pg_postmaster_start_time() < now() - silence
      AND (SELECT count(*) = 1 OR max(last_seen_at) >= now() - silence FROM builder WHERE standing <> 'retired')
    ORDER BY name
$$;
CREATE FUNCTION public.skip_build(unwanted bigint, why text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    DELETE FROM queue WHERE build_id = unwanted AND lease_id IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE build SET state = 'skipped', reason = why WHERE build_id = unwanted;
    PERFORM wake_siblings(unwanted);
    RETURN true;
END $$;
CREATE FUNCTION public.suspect_builder(its_name text, what text, quarantine boolean) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    suspect integer;
BEGIN
    SELECT builder_id INTO suspect FROM builder WHERE name = its_name;
    IF NOT FOUND THEN
        RETURN false;
    ELSIF quarantine THEN
        PERFORM quarantine_builder(suspect, what);
    ELSE
        PERFORM note_incident(suspect, what);
    END IF;
    RETURN true;
END $$;
CREATE FUNCTION public.take_back_leases(from_builder integer, why text) RETURNS void
    LANGUAGE sql
    AS $$
    WITH taken AS (
        UPDATE queue SET lease_id = NULL, builder_id = NULL, expires_at = NULL
        WHERE builder_id = from_builder AND lease_id IS NOT NULL
        RETURNING build_id
    )
    UPDATE build SET state = 'pending', reason = why FROM taken WHERE taken.build_id = build.build_id
$$;
CREATE FUNCTION public.take_turn() RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    before text := current_setting('lock_timeout');
BEGIN
    PERFORM set_config('lock_timeout', '2s', true);
    PERFORM pg_advisory_xact_lock(hashtext('lease_batch'), pg_backend_pid() % 4);
    PERFORM set_config('lock_timeout', before, true);
EXCEPTION WHEN lock_not_available THEN
    -- The setting is what it was: all of this block is undone.
    NULL;
END $$;
CREATE FUNCTION public.told_hosted_pis(prefix text, account jsonb) RETURNS TABLE(name text, specification jsonb, since text, minutes real, is_delivered boolean, cancel_wanted text, is_cancelled boolean, failure text, power_cycles integer, standing text, standing_reason text, silence real, leased bigint, attempts bigint)
    LANGUAGE sql STABLE
    SET search_path TO 'public', 'pg_temp'
    AS $$
    SELECT hosted_pi.name, specification, to_char(ordered_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'),
           (extract(epoch FROM now() - ordered_at) / 60)::real, delivered_at IS NOT NULL,
           to_char(cancel_wanted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), cancelled_at IS NOT NULL,
           failure, power_cycles, standing::text, standing_reason, extract(epoch FROM now() - last_seen_at)::real,
           (SELECT count(*) FROM queue WHERE queue.builder_id = builder.builder_id AND lease_id IS NOT NULL),
           coalesce(lately.attempts, 0)
    FROM hosted_pi
    LEFT JOIN builder USING (name)
    LEFT JOIN (
        SELECT builder_id, count(*) AS attempts FROM attempt WHERE recorded_at > now() - interval '1 day' GROUP BY builder_id
    ) AS lately USING (builder_id)
    WHERE starts_with(hosted_pi.name, prefix)
      AND (cancelled_at IS NULL OR standing <> 'retired'
           OR hosted_pi.name IN (SELECT pi->>'name' FROM jsonb_array_elements(account) AS pi))
    ORDER BY hosted_pi.name
$$;
CREATE FUNCTION public.told_of_builder(its_name text) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path TO 'public', 'pg_temp'
    AS $$
    SELECT jsonb_build_object(
        'standing', standing, 'memory_class', memory_class, 'slots', slots, 'slowness', slowness, 'address', address,
        'certificate_serial', certificate_serial::text, 'host_keys', host_keys,
        'targets', (
            SELECT coalesce(jsonb_agg(python || '-' || architecture || '-' || os_release ORDER BY target_id), '[]')
            FROM builder_target JOIN target USING (target_id) WHERE builder_target.builder_id = builder.builder_id))
    FROM builder WHERE name = its_name
$$;
CREATE FUNCTION public.trip_breaker() RETURNS TABLE(builder text, reason text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
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
CREATE FUNCTION public.unfinished(leader bigint) RETURNS bigint
    LANGUAGE plpgsql STRICT
    AS $$
BEGIN
    PERFORM FROM queue WHERE build_id = leader FOR SHARE;
    IF FOUND THEN
        RETURN leader;
    END IF;
    -- Its wheel is yet to be published.
    RETURN (SELECT build_id FROM build WHERE build_id = leader AND state = 'built' FOR SHARE);
END $$;
CREATE FUNCTION public.unpark_builds_of(its_builder integer, since timestamp with time zone) RETURNS bigint[]
    LANGUAGE sql
    AS $$
    WITH unparked AS (
        UPDATE queue SET held = NULL, not_before = '-infinity', queued_at = now()
        WHERE held IS NOT NULL AND lease_id IS NULL AND EXISTS (
            SELECT FROM attempt
            WHERE attempt.build_id = queue.build_id AND attempt.builder_id = its_builder AND attempt.recorded_at >= since)
        RETURNING build_id
    )
    SELECT coalesce(array_agg(build_id), '{}') FROM unparked
$$;
CREATE FUNCTION public.vain_power_cycles(pi public.hosted_pi) RETURNS integer
    LANGUAGE sql STABLE
    SET search_path TO 'public', 'pg_temp'
    AS $$
    SELECT CASE
        WHEN pi.power_cycled_at + interval '1 day' < (SELECT last_seen_at FROM builder WHERE name = pi.name) THEN 0
        ELSE pi.power_cycles END
$$;
CREATE FUNCTION public.wake_orphans() RETURNS integer
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    WITH unable AS (
        SELECT target_id, class::smallint AS memory_class
        FROM target CROSS JOIN generate_series(0, 2) AS class
        WHERE NOT EXISTS (
            SELECT FROM builder_target JOIN builder USING (builder_id)
            WHERE builder_target.target_id = target.target_id AND builder.standing IN ('active', 'paused')
              AND builder.memory_class >= class)
    ), stuck AS (
        SELECT build_id FROM queue WHERE held IS NOT NULL
        UNION ALL
        SELECT build_id
        FROM unable JOIN queue USING (target_id, memory_class)
        WHERE lease_id IS NULL AND waits_for IS NULL AND held IS NULL AND not_before = '-infinity'
    ), woken AS (
        SELECT build_id, wake_siblings(build_id) FROM stuck
        WHERE EXISTS (SELECT FROM queue AS waiting WHERE waiting.waits_for = stuck.build_id)
    )
    SELECT count(*)::integer FROM woken
$$;
CREATE FUNCTION public.wake_siblings(leader bigint) RETURNS void
    LANGUAGE sql
    AS $$
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
CREATE FUNCTION public.want_build(its_release bigint, its_target smallint, its_priority integer, guess_seconds real, leader bigint DEFAULT NULL::bigint) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
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
CREATE FUNCTION public.want_builds(releases bigint[], targets smallint[], priorities smallint[], guesses real[], leader_targets smallint[]) RETURNS TABLE(release_id bigint, target_id smallint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    SET join_collapse_limit TO '1'
    AS $$
#variable_conflict use_column
DECLARE
    follow boolean;
BEGIN
    INSERT INTO build (release_id, target_id, reason)
    SELECT release_id, target_id, 'wanted' FROM unnest(releases, targets) AS asked (release_id, target_id)
    ORDER BY release_id, target_id
    ON CONFLICT (release_id, target_id) DO UPDATE SET state = 'pending', reason = 'wanted again'
        WHERE build.state = 'skipped' AND build.reason NOT LIKE 'served by %';
    UPDATE queue SET priority = asked.priority
    FROM unnest(releases, targets, priorities) AS asked (release_id, target_id, priority)
    JOIN build USING (release_id, target_id)
    WHERE queue.build_id = build.build_id AND queue.priority > asked.priority;
    -- Leaders first, since who waits for one looks whether it is there.
    FOREACH follow IN ARRAY ARRAY[false, true] LOOP
        RETURN QUERY
        WITH queued AS (
            INSERT INTO queue (build_id, target_id, memory_class, priority, estimate_seconds, waits_for)
            SELECT build.build_id, build.target_id, cost.memory_class, demanded_priority(build.release_id, asked.priority),
                   greatest(coalesce(cost.seconds, asked.guess), 0.1), unfinished(leader.build_id)
            FROM unnest(releases, targets, priorities, guesses, leader_targets)
                 AS asked (release_id, target_id, priority, guess, leader_target)
            JOIN build USING (release_id, target_id)
            JOIN release USING (release_id)
            CROSS JOIN LATERAL cost_of_project(release.project_id, build.target_id) AS cost
            LEFT JOIN build AS leader ON leader.release_id = asked.release_id AND leader.target_id = asked.leader_target
            WHERE build.state = 'pending' AND (asked.leader_target IS NOT NULL) = follow
            ON CONFLICT (build_id) DO NOTHING
            RETURNING build_id
        )
        SELECT build.release_id, build.target_id FROM queued JOIN build USING (build_id);
    END LOOP;
END $$;
CREATE FUNCTION public.want_first_builds(releases bigint[], targets smallint[], priorities smallint[], guesses real[], leader_targets smallint[]) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    SET enable_nestloop TO 'off'
    AS $$
#variable_conflict use_column
DECLARE
    number bigint;
BEGIN
    WITH asked AS MATERIALIZED (
        SELECT * FROM unnest(releases, targets, priorities, guesses, leader_targets)
                      AS asked (release_id, target_id, priority, guess, leader_target)
    ), made AS (
        INSERT INTO build (release_id, target_id, reason) SELECT release_id, target_id, 'wanted' FROM asked
        RETURNING build_id, release_id, target_id
    )
    INSERT INTO queue (build_id, target_id, priority, estimate_seconds, waits_for)
    SELECT made.build_id, made.target_id, asked.priority, greatest(asked.guess, 0.1), leader.build_id
    FROM asked
    JOIN made USING (release_id, target_id)
    LEFT JOIN made AS leader ON leader.release_id = asked.release_id AND leader.target_id = asked.leader_target;
    GET DIAGNOSTICS number = ROW_COUNT;
    RETURN number;
END $$;
CREATE FUNCTION public.want_targets() RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    -- One that is wanted again has missed what came out meanwhile.
    UPDATE target SET wanted = NOT wanted, swept_to = CASE WHEN wanted THEN swept_to ELSE 0 END
    WHERE wanted <> EXISTS (
        SELECT FROM builder_target JOIN builder USING (builder_id)
        WHERE builder_target.target_id = target.target_id AND standing <> 'retired');
    RETURN FOUND;
END $$;
CREATE FUNCTION public.wheel_standing(filename text, published_at timestamp with time zone, withdrawn_at timestamp with time zone) RETURNS text
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT CASE WHEN withdrawn_at IS NOT NULL THEN 'wheel withdrawn'
                WHEN published_at IS NULL THEN NULL
                WHEN filename LIKE '%-none-any.whl' THEN 'wheel pure'
                ELSE 'wheel compiled' END
$$;
CREATE FUNCTION public.withdraw_twin() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    UPDATE wheel SET withdrawn_at = NEW.withdrawn_at, withdrawn_reason = NEW.withdrawn_reason
    WHERE twin_of = NEW.wheel_id AND withdrawn_at IS NULL;
    RETURN NULL;
END $$;
CREATE FUNCTION public.withdraw_wheel(its_wheel bigint, why text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
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
CREATE TABLE public.attempt (
    attempt_id bigint NOT NULL,
    build_id bigint NOT NULL,
    lease_id uuid NOT NULL,
    builder_id integer NOT NULL,
    outcome public.outcome NOT NULL,
    started_at timestamp with time zone NOT NULL,
    seconds real NOT NULL,
    peak_memory bigint,
    error_line text,
    log_tail text,
    toolchain text,
    recorded_at timestamp with time zone DEFAULT now() NOT NULL,
    project_id integer NOT NULL,
    memory_class smallint DEFAULT 0 NOT NULL,
    mechanism text,
    missing text,
    log_size bigint,
    log_stored_at timestamp with time zone,
    estimate_seconds real,
    CONSTRAINT attempt_took_time CHECK ((seconds >= (0)::double precision))
);
ALTER TABLE public.attempt ALTER COLUMN attempt_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.attempt_attempt_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.build (
    build_id bigint NOT NULL,
    release_id bigint NOT NULL,
    target_id smallint NOT NULL,
    state public.build_state DEFAULT 'pending'::public.build_state NOT NULL,
    reason text NOT NULL,
    changed_at timestamp with time zone DEFAULT now() NOT NULL
)
WITH (fillfactor='80');
ALTER TABLE public.build ALTER COLUMN build_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.build_build_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.build_transition (
    before public.build_state NOT NULL,
    after public.build_state NOT NULL,
    reason text NOT NULL
);
CREATE TABLE public.builder_health (
    builder_id integer NOT NULL,
    priority smallint NOT NULL,
    faults_now real DEFAULT 0 NOT NULL,
    faults_usual real DEFAULT 0 NOT NULL,
    faults_seen integer DEFAULT 0 NOT NULL,
    failures_now real DEFAULT 0.5 NOT NULL,
    failures_usual real DEFAULT 0.5 NOT NULL,
    failures_seen integer DEFAULT 0 NOT NULL,
    recent_projects integer[] DEFAULT '{}'::integer[] NOT NULL
)
WITH (fillfactor='50');
COMMENT ON COLUMN public.builder_health.failures_usual IS 'one in two before there is a history, so that hard releases alone trip nothing';
CREATE VIEW public.builder_alarm AS
 SELECT DISTINCT ON (builder.builder_id) builder.builder_id,
    builder.name,
    alarm.reason
   FROM (((public.builder
     JOIN public.builder_health USING (builder_id))
     CROSS JOIN LATERAL ( VALUES (1,((builder_health.faults_seen >= 5) AND (builder_health.faults_now > public.faults_limit(builder_health.faults_usual))),builder_health.faults_now,builder_health.faults_usual,'ended by a fault of the builder''s or its network'::text), (2,((builder_health.failures_seen >= 10) AND (builder_health.failures_now > public.failures_limit(builder_health.failures_usual))),builder_health.failures_now,builder_health.failures_usual,'failed'::text)) stream(place, over, now, usual, what))
     CROSS JOIN LATERAL ( SELECT format('%s %% of its latest attempts %s, usually %s %%'::text, round(((100)::double precision * stream.now)), stream.what, round(((100)::double precision * stream.usual))) AS reason) alarm)
  WHERE ((builder.standing = 'active'::public.builder_standing) AND stream.over)
  ORDER BY builder.builder_id, stream.place;
ALTER TABLE public.builder ALTER COLUMN builder_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.builder_builder_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.queue (
    build_id bigint NOT NULL,
    target_id smallint NOT NULL,
    memory_class smallint DEFAULT 0 NOT NULL,
    priority smallint NOT NULL,
    estimate_seconds real NOT NULL,
    waits_for bigint,
    held text,
    queued_at timestamp with time zone DEFAULT now() NOT NULL,
    not_before timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    lease_id uuid,
    builder_id integer,
    expires_at timestamp with time zone,
    CONSTRAINT estimate_is_positive CHECK ((estimate_seconds > (0)::double precision)),
    CONSTRAINT lease_is_whole CHECK ((num_nulls(lease_id, builder_id, expires_at) = ANY (ARRAY[0, 3]))),
    CONSTRAINT waiting_is_not_leased CHECK (((lease_id IS NULL) OR ((waits_for IS NULL) AND (held IS NULL))))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.02', autovacuum_analyze_scale_factor='0.02');
COMMENT ON COLUMN public.queue.priority IS '-1: asked for by users, 0: forced by the operator or fresh, 1: newest release of its project, 2: back catalogue';
CREATE TABLE public.wheel (
    wheel_id bigint NOT NULL,
    build_id bigint NOT NULL,
    attempt_id bigint,
    filename text NOT NULL,
    sha256 text NOT NULL,
    size bigint NOT NULL,
    requires_python text,
    metadata_sha256 text,
    glibc_floor text,
    published_at timestamp with time zone,
    withdrawn_at timestamp with time zone,
    withdrawn_reason text,
    refused_reason text,
    lost_at timestamp with time zone,
    twin_of bigint,
    import_result public.import_result,
    import_detail text,
    libraries jsonb,
    CONSTRAINT libraries_are_an_object CHECK ((jsonb_typeof(libraries) = 'object'::text)),
    CONSTRAINT only_published_wheels_are_withdrawn CHECK (((withdrawn_at IS NULL) OR (published_at IS NOT NULL))),
    CONSTRAINT only_twins_have_no_attempt CHECK (((attempt_id IS NULL) = (twin_of IS NOT NULL))),
    CONSTRAINT twins_are_published CHECK (((twin_of IS NULL) OR (published_at IS NOT NULL))),
    CONSTRAINT wheel_has_one_end CHECK ((num_nonnulls(published_at, refused_reason, lost_at) <= 1)),
    CONSTRAINT wheel_metadata_sha256_check CHECK ((metadata_sha256 ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT wheel_sha256_check CHECK ((sha256 ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT wheel_size_check CHECK ((size > 0))
);
CREATE VIEW public.builder_load AS
 SELECT builder.name,
    builder.standing,
    builder.standing_reason,
    builder.has_room,
    builder.memory_class,
    builder.slots,
    builder.last_seen_at,
    (COALESCE(spool.seconds, (0)::real) * builder.slowness) AS spool_seconds,
    COALESCE(spool.builds, (0)::bigint) AS spool_builds,
    COALESCE(outbox.wheels, (0)::bigint) AS wheels_waiting,
    COALESCE(logs.number, (0)::bigint) AS logs_waiting,
    COALESCE(outbox.held, (0)::bigint) AS wheels_held,
    builder.slowness,
    told.temperature,
    told.memory_free,
    told.memory_total,
    told.throttled,
    told.under_voltage,
    told.disk_free
   FROM ((((public.builder
     CROSS JOIN LATERAL ( SELECT sum(queue.estimate_seconds) AS seconds,
            count(*) AS builds
           FROM public.queue
          WHERE ((queue.builder_id = builder.builder_id) AND (queue.lease_id IS NOT NULL))) spool)
     LEFT JOIN ( SELECT attempt.builder_id,
            count(*) FILTER (WHERE trusted.trusted) AS wheels,
            count(*) FILTER (WHERE (NOT trusted.trusted)) AS held
           FROM (((public.wheel
             JOIN public.attempt USING (attempt_id))
             JOIN public.builder builder_1 USING (builder_id))
             CROSS JOIN LATERAL public.is_trusted(builder_1.*, attempt.recorded_at) trusted(trusted))
          WHERE ((wheel.published_at IS NULL) AND (wheel.refused_reason IS NULL) AND (wheel.lost_at IS NULL))
          GROUP BY attempt.builder_id) outbox USING (builder_id))
     LEFT JOIN ( SELECT attempt.builder_id,
            count(*) AS number
           FROM (public.attempt
             JOIN public.builder builder_1 USING (builder_id))
          WHERE ((attempt.log_size IS NOT NULL) AND (attempt.log_stored_at IS NULL) AND public.is_trusted(builder_1.*, attempt.recorded_at))
          GROUP BY attempt.builder_id) logs USING (builder_id))
     LEFT JOIN LATERAL ( SELECT builder.temperature,
            builder.memory_free,
            builder.memory_total,
            builder.throttled,
            builder.under_voltage,
            builder.disk_free
          WHERE (builder.last_seen_at > (now() - '00:05:00'::interval))) told ON (true))
  WHERE (builder.standing <> 'retired'::public.builder_standing);
CREATE TABLE public.builder_target (
    builder_id integer NOT NULL,
    target_id smallint NOT NULL
);
CREATE TABLE public.demand (
    project text NOT NULL,
    version text DEFAULT ''::text NOT NULL,
    asked integer NOT NULL,
    asked_first_at timestamp with time zone DEFAULT now() NOT NULL,
    asked_last_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT demand_was_asked CHECK ((asked > 0))
);
CREATE TABLE public.dispatch_pause (
    one boolean DEFAULT true NOT NULL,
    reason text NOT NULL,
    by_whom text NOT NULL,
    since timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT one_pause_at_most CHECK (one)
);
CREATE TABLE public.download (
    project_id integer NOT NULL,
    wheel_id bigint NOT NULL,
    day date NOT NULL,
    number integer DEFAULT 0 NOT NULL,
    repeated integer DEFAULT 0 NOT NULL,
    bots integer DEFAULT 0 NOT NULL
);
CREATE TABLE public.download_key (
    day date NOT NULL,
    secret bytea NOT NULL,
    made_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.download_log (
    first_line text NOT NULL,
    read_to bigint NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.download_seen (
    day date NOT NULL,
    digest bytea NOT NULL
);
CREATE TABLE public.incident (
    incident_id bigint NOT NULL,
    builder_id integer NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    last_at timestamp with time zone DEFAULT now() NOT NULL,
    times integer DEFAULT 1 NOT NULL,
    what text NOT NULL
);
ALTER TABLE public.incident ALTER COLUMN incident_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.incident_incident_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.learned (
    one boolean DEFAULT true NOT NULL,
    attempt_id bigint NOT NULL,
    CONSTRAINT one_learned_at_most CHECK (one)
);
CREATE TABLE public.lease (
    lease_id uuid NOT NULL,
    builder_id integer NOT NULL,
    leased_at timestamp with time zone DEFAULT now() NOT NULL,
    builds bigint[]
);
CREATE TABLE public.listing (
    only_one boolean DEFAULT true NOT NULL,
    changes bigint DEFAULT 1 NOT NULL,
    written bigint DEFAULT 0 NOT NULL,
    written_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    names integer DEFAULT 0 NOT NULL,
    CONSTRAINT listing_is_one_row CHECK (only_one)
);
CREATE TABLE public.project (
    project_id integer NOT NULL,
    name text NOT NULL,
    serial bigint,
    etag text,
    status text DEFAULT 'active'::text NOT NULL,
    status_reason text,
    synced_at timestamp with time zone,
    CONSTRAINT project_name_is_normalized CHECK (((name ~ '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$'::text) AND (name !~ '--'::text))),
    CONSTRAINT project_status_is_known CHECK ((status = ANY (ARRAY['active'::text, 'archived'::text, 'quarantined'::text, 'deprecated'::text, 'gone'::text])))
);
CREATE VIEW public.log_awaiting AS
 SELECT attempt.attempt_id,
    attempt.build_id,
    attempt.project_id,
    project.name AS project,
    attempt.builder_id,
    builder.name AS builder,
    attempt.lease_id,
    attempt.log_size AS size,
    attempt.recorded_at
   FROM ((public.attempt
     JOIN public.builder USING (builder_id))
     JOIN public.project USING (project_id))
  WHERE ((attempt.log_size IS NOT NULL) AND (attempt.log_stored_at IS NULL) AND public.is_trusted(builder.*, attempt.recorded_at));
CREATE TABLE public.memory_limit (
    memory_class smallint NOT NULL,
    bytes bigint,
    CONSTRAINT only_the_largest_class_is_unlimited CHECK (((bytes IS NULL) = (memory_class = 2)))
);
CREATE TABLE public.operator_instruction (
    project text NOT NULL,
    version text DEFAULT ''::text NOT NULL,
    instruction public.instruction NOT NULL,
    reason text NOT NULL,
    given_at timestamp with time zone DEFAULT now() NOT NULL
);
COMMENT ON COLUMN public.operator_instruction.version IS 'canonical version; the empty string means every release of the project';
CREATE TABLE public.opt_out (
    project text NOT NULL,
    reason text NOT NULL,
    asked_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.os_release (
    os_release text NOT NULL,
    age smallint NOT NULL,
    glibc text NOT NULL,
    CONSTRAINT glibc_is_a_version CHECK ((glibc ~ '^[0-9]+\.[0-9]+$'::text))
);
CREATE TABLE public.outcome_meaning (
    outcome public.outcome NOT NULL,
    blame public.blame NOT NULL,
    meaning text NOT NULL
);
CREATE TABLE public.page_due (
    project_id integer NOT NULL,
    changes bigint DEFAULT 1 NOT NULL,
    comes_or_goes boolean DEFAULT false NOT NULL
);
CREATE TABLE public.page_instruction (
    project text NOT NULL,
    version text DEFAULT ''::text NOT NULL,
    word public.page_word NOT NULL,
    reason text NOT NULL,
    given_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT quarantine_is_of_projects CHECK (((word <> 'quarantine'::public.page_word) OR (version = ''::text)))
);
COMMENT ON COLUMN public.page_instruction.version IS 'canonical version; the empty string means every release of the project';
ALTER TABLE public.project ALTER COLUMN project_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.project_project_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.release (
    release_id bigint NOT NULL,
    project_id integer NOT NULL,
    version text NOT NULL,
    spelling text NOT NULL,
    newest_first integer NOT NULL
);
ALTER TABLE public.release ALTER COLUMN release_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.release_release_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.schema_step (
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.statistic (
    what text NOT NULL,
    target_id smallint NOT NULL,
    number bigint NOT NULL,
    amount double precision NOT NULL
)
WITH (fillfactor='50');
CREATE TABLE public.statistic_change (
    what text NOT NULL,
    target_id smallint NOT NULL,
    number bigint NOT NULL,
    amount double precision NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='10000');
CREATE VIEW public.statistics AS
 SELECT what,
    target_id,
    (sum(number))::bigint AS number,
    sum(amount) AS amount
   FROM ( SELECT statistic.what,
            statistic.target_id,
            statistic.number,
            statistic.amount
           FROM public.statistic
        UNION ALL
         SELECT statistic_change.what,
            statistic_change.target_id,
            statistic_change.number,
            statistic_change.amount
           FROM public.statistic_change) part
  GROUP BY what, target_id
 HAVING (sum(number) <> (0)::numeric);
CREATE TABLE public.target (
    target_id smallint NOT NULL,
    python text NOT NULL,
    architecture text NOT NULL,
    os_release text NOT NULL,
    abi_order smallint NOT NULL,
    wanted boolean DEFAULT true NOT NULL,
    swept_to integer DEFAULT 0,
    CONSTRAINT target_python_is_an_abi CHECK ((python ~ '^(cp|pp)[0-9]+t?$'::text))
);
ALTER TABLE public.target ALTER COLUMN target_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.target_target_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.unfollowed_project (
    name text NOT NULL,
    serial bigint,
    error text NOT NULL,
    temporary boolean NOT NULL,
    since timestamp with time zone DEFAULT now() NOT NULL,
    tries integer DEFAULT 1 NOT NULL,
    try_again_at timestamp with time zone NOT NULL
);
CREATE TABLE public.upstream_file (
    project_id integer NOT NULL,
    filename text NOT NULL,
    release_id bigint,
    kind public.file_kind NOT NULL,
    refusal text,
    url text NOT NULL,
    sha256 text,
    size bigint,
    requires_python text,
    yanked boolean DEFAULT false NOT NULL,
    yanked_reason text,
    upload_time timestamp with time zone,
    metadata_sha256 text,
    provenance text,
    CONSTRAINT only_a_yank_has_a_yank_reason CHECK ((yanked OR (yanked_reason IS NULL))),
    CONSTRAINT refused_file_has_a_reason CHECK (((kind = 'refused'::public.file_kind) = (refusal IS NOT NULL))),
    CONSTRAINT sha256_is_hex CHECK (((length(sha256) = 64) AND (sha256 !~ '[^0-9a-f]'::text))),
    CONSTRAINT usable_file_has_a_release CHECK (((kind = 'refused'::public.file_kind) OR (release_id IS NOT NULL)))
);
CREATE TABLE public.upstream_state (
    only_row boolean DEFAULT true NOT NULL,
    url text NOT NULL,
    whole boolean NOT NULL,
    listing_etag text,
    asked_at timestamp with time zone NOT NULL,
    followed_at timestamp with time zone,
    behind integer NOT NULL,
    held_back integer DEFAULT 0 NOT NULL,
    projects integer NOT NULL,
    CONSTRAINT upstream_state_has_one_row CHECK (only_row)
);
CREATE VIEW public.wheel_awaiting AS
 SELECT wheel.wheel_id,
    wheel.build_id,
    wheel.attempt_id,
    wheel.filename,
    wheel.sha256,
    wheel.size,
    attempt.builder_id,
    builder.name AS builder,
    attempt.lease_id,
    attempt.recorded_at
   FROM (((public.wheel
     JOIN public.attempt USING (attempt_id))
     JOIN public.builder USING (builder_id))
     JOIN public.build ON (((build.build_id = wheel.build_id) AND (build.state = 'built'::public.build_state))))
  WHERE ((wheel.published_at IS NULL) AND (wheel.refused_reason IS NULL) AND (wheel.lost_at IS NULL) AND public.is_trusted(builder.*, attempt.recorded_at));
ALTER TABLE public.wheel ALTER COLUMN wheel_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.wheel_wheel_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
ALTER TABLE ONLY public.attempt
    ADD CONSTRAINT attempt_ends_once UNIQUE (build_id, lease_id);
ALTER TABLE ONLY public.attempt
    ADD CONSTRAINT attempt_pkey PRIMARY KEY (attempt_id);
ALTER TABLE ONLY public.build
    ADD CONSTRAINT build_is_unique UNIQUE (release_id, target_id);
ALTER TABLE ONLY public.build
    ADD CONSTRAINT build_pkey PRIMARY KEY (build_id);
ALTER TABLE ONLY public.build_transition
    ADD CONSTRAINT build_transition_pkey PRIMARY KEY (before, after);
ALTER TABLE ONLY public.builder_health
    ADD CONSTRAINT builder_health_pkey PRIMARY KEY (builder_id, priority);
ALTER TABLE ONLY public.builder
    ADD CONSTRAINT builder_login_key UNIQUE (login);
ALTER TABLE ONLY public.builder
    ADD CONSTRAINT builder_name_key UNIQUE (name);
ALTER TABLE ONLY public.builder
    ADD CONSTRAINT builder_pkey PRIMARY KEY (builder_id);
ALTER TABLE ONLY public.builder_target
    ADD CONSTRAINT builder_target_pkey PRIMARY KEY (builder_id, target_id);
ALTER TABLE ONLY public.dispatch_pause
    ADD CONSTRAINT dispatch_pause_pkey PRIMARY KEY (one);
ALTER TABLE ONLY public.download_key
    ADD CONSTRAINT download_key_pkey PRIMARY KEY (day);
ALTER TABLE ONLY public.download_log
    ADD CONSTRAINT download_log_pkey PRIMARY KEY (first_line);
ALTER TABLE ONLY public.download
    ADD CONSTRAINT download_pkey PRIMARY KEY (project_id, wheel_id, day);
ALTER TABLE ONLY public.download_seen
    ADD CONSTRAINT download_seen_pkey PRIMARY KEY (day, digest);
ALTER TABLE ONLY public.hosted_pi
    ADD CONSTRAINT hosted_pi_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.incident
    ADD CONSTRAINT incident_pkey PRIMARY KEY (incident_id);
ALTER TABLE ONLY public.learned
    ADD CONSTRAINT learned_pkey PRIMARY KEY (one);
ALTER TABLE ONLY public.lease
    ADD CONSTRAINT lease_pkey PRIMARY KEY (lease_id);
ALTER TABLE ONLY public.listing
    ADD CONSTRAINT listing_pkey PRIMARY KEY (only_one);
ALTER TABLE ONLY public.memory_limit
    ADD CONSTRAINT memory_limit_pkey PRIMARY KEY (memory_class);
ALTER TABLE ONLY public.demand
    ADD CONSTRAINT one_demand_each PRIMARY KEY (project, version);
ALTER TABLE ONLY public.operator_instruction
    ADD CONSTRAINT one_instruction_each PRIMARY KEY (project, version);
ALTER TABLE ONLY public.statistic
    ADD CONSTRAINT one_statistic_each PRIMARY KEY (what, target_id);
ALTER TABLE ONLY public.page_instruction
    ADD CONSTRAINT one_word_each PRIMARY KEY (project, version, word);
ALTER TABLE ONLY public.opt_out
    ADD CONSTRAINT opt_out_pkey PRIMARY KEY (project);
ALTER TABLE ONLY public.os_release
    ADD CONSTRAINT os_release_age_key UNIQUE (age);
ALTER TABLE ONLY public.os_release
    ADD CONSTRAINT os_release_pkey PRIMARY KEY (os_release);
ALTER TABLE ONLY public.outcome_meaning
    ADD CONSTRAINT outcome_meaning_pkey PRIMARY KEY (outcome);
ALTER TABLE ONLY public.page_due
    ADD CONSTRAINT page_due_pkey PRIMARY KEY (project_id);
ALTER TABLE ONLY public.project
    ADD CONSTRAINT project_name_is_unique UNIQUE (name);
ALTER TABLE ONLY public.project
    ADD CONSTRAINT project_pkey PRIMARY KEY (project_id);
ALTER TABLE ONLY public.queue
    ADD CONSTRAINT queue_pkey PRIMARY KEY (build_id);
ALTER TABLE ONLY public.release
    ADD CONSTRAINT release_is_unique UNIQUE (project_id, version);
ALTER TABLE ONLY public.release
    ADD CONSTRAINT release_pkey PRIMARY KEY (release_id);
ALTER TABLE ONLY public.schema_step
    ADD CONSTRAINT schema_step_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.target
    ADD CONSTRAINT target_is_unique UNIQUE (python, architecture, os_release);
ALTER TABLE ONLY public.target
    ADD CONSTRAINT target_pkey PRIMARY KEY (target_id);
ALTER TABLE ONLY public.unfollowed_project
    ADD CONSTRAINT unfollowed_project_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.upstream_file
    ADD CONSTRAINT upstream_file_is_unique PRIMARY KEY (project_id, filename);
ALTER TABLE ONLY public.upstream_state
    ADD CONSTRAINT upstream_state_pkey PRIMARY KEY (only_row);
ALTER TABLE ONLY public.wheel
    ADD CONSTRAINT wheel_attempt_id_key UNIQUE (attempt_id);
ALTER TABLE ONLY public.wheel
    ADD CONSTRAINT wheel_pkey PRIMARY KEY (wheel_id);
ALTER TABLE ONLY public.wheel
    ADD CONSTRAINT wheel_twin_of_key UNIQUE (twin_of);
CREATE INDEX attempt_failure ON public.attempt USING btree (outcome) WHERE (outcome <> 'built'::public.outcome);
CREATE INDEX attempt_log_awaiting ON public.attempt USING btree (builder_id) WHERE ((log_size IS NOT NULL) AND (log_stored_at IS NULL));
CREATE INDEX attempt_missing ON public.attempt USING btree (missing text_pattern_ops) WHERE (missing IS NOT NULL);
CREATE INDEX attempt_project ON public.attempt USING btree (project_id, attempt_id);
CREATE INDEX attempt_recorded ON public.attempt USING btree (recorded_at);
CREATE INDEX download_by_day ON public.download USING btree (day);
CREATE INDEX incident_builder ON public.incident USING btree (builder_id, at);
CREATE INDEX incident_last ON public.incident USING btree (last_at);
CREATE INDEX lease_leased ON public.lease USING btree (leased_at);
CREATE UNIQUE INDEX published_filename_is_unique ON public.wheel USING btree (filename) WHERE (published_at IS NOT NULL);
CREATE INDEX queue_builder ON public.queue USING btree (builder_id, lease_id) WHERE (lease_id IS NOT NULL);
CREATE INDEX queue_delayed ON public.queue USING btree (not_before) WHERE (not_before > '-infinity'::timestamp with time zone);
CREATE INDEX queue_expiry ON public.queue USING btree (expires_at) WHERE (lease_id IS NOT NULL);
CREATE INDEX queue_held ON public.queue USING btree (build_id) WHERE (held IS NOT NULL);
CREATE INDEX queue_leasable ON public.queue USING btree (target_id, memory_class, priority, estimate_seconds DESC, build_id) WHERE ((lease_id IS NULL) AND (waits_for IS NULL) AND (held IS NULL) AND (not_before = '-infinity'::timestamp with time zone));
CREATE INDEX queue_waiting ON public.queue USING btree (waits_for) WHERE (waits_for IS NOT NULL);
CREATE INDEX upstream_file_release ON public.upstream_file USING btree (release_id);
CREATE INDEX wheel_build ON public.wheel USING btree (build_id);
CREATE INDEX wheel_unpublished ON public.wheel USING btree (build_id) WHERE ((published_at IS NULL) AND (refused_reason IS NULL) AND (lost_at IS NULL));
CREATE TRIGGER attempts_are_counted AFTER INSERT ON public.attempt REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION public.count_attempts();
CREATE TRIGGER build_transition_is_known BEFORE UPDATE OF state ON public.build FOR EACH ROW WHEN ((old.state <> new.state)) EXECUTE FUNCTION public.check_build_transition();
CREATE TRIGGER builds_are_counted AFTER INSERT ON public.build REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION public.count_builds();
CREATE TRIGGER changed_builds_are_counted AFTER UPDATE ON public.build REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION public.count_builds();
CREATE TRIGGER changed_queue_is_counted AFTER UPDATE ON public.queue REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION public.count_queue();
CREATE TRIGGER changed_wheels_are_counted AFTER UPDATE ON public.wheel REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION public.count_wheels();
CREATE TRIGGER projects_are_counted AFTER INSERT ON public.project REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION public.count_catalogue();
CREATE TRIGGER queue_is_counted AFTER INSERT ON public.queue REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION public.count_queue();
CREATE TRIGGER releases_are_counted AFTER INSERT ON public.release REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION public.count_catalogue();
CREATE TRIGGER removed_builds_are_counted AFTER DELETE ON public.build REFERENCING OLD TABLE AS before FOR EACH STATEMENT EXECUTE FUNCTION public.count_builds();
CREATE TRIGGER removed_queue_is_counted AFTER DELETE ON public.queue REFERENCING OLD TABLE AS before FOR EACH STATEMENT EXECUTE FUNCTION public.count_queue();
CREATE TRIGGER removed_wheels_are_counted AFTER DELETE ON public.wheel REFERENCING OLD TABLE AS before FOR EACH STATEMENT EXECUTE FUNCTION public.count_wheels();
CREATE TRIGGER twins_are_withdrawn_together AFTER UPDATE OF withdrawn_at ON public.wheel FOR EACH ROW WHEN (((new.withdrawn_at IS NOT NULL) AND (new.twin_of IS NULL))) EXECUTE FUNCTION public.withdraw_twin();
CREATE TRIGGER wheels_are_counted AFTER INSERT ON public.wheel REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION public.count_wheels();
ALTER TABLE ONLY public.attempt
    ADD CONSTRAINT attempt_build_id_fkey FOREIGN KEY (build_id) REFERENCES public.build(build_id);
ALTER TABLE ONLY public.attempt
    ADD CONSTRAINT attempt_builder_id_fkey FOREIGN KEY (builder_id) REFERENCES public.builder(builder_id);
ALTER TABLE ONLY public.build
    ADD CONSTRAINT build_release_id_fkey FOREIGN KEY (release_id) REFERENCES public.release(release_id);
ALTER TABLE ONLY public.build
    ADD CONSTRAINT build_target_id_fkey FOREIGN KEY (target_id) REFERENCES public.target(target_id);
ALTER TABLE ONLY public.builder_health
    ADD CONSTRAINT builder_health_builder_id_fkey FOREIGN KEY (builder_id) REFERENCES public.builder(builder_id);
ALTER TABLE ONLY public.builder_target
    ADD CONSTRAINT builder_target_builder_id_fkey FOREIGN KEY (builder_id) REFERENCES public.builder(builder_id);
ALTER TABLE ONLY public.builder_target
    ADD CONSTRAINT builder_target_target_id_fkey FOREIGN KEY (target_id) REFERENCES public.target(target_id);
ALTER TABLE ONLY public.download
    ADD CONSTRAINT download_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.project(project_id);
ALTER TABLE ONLY public.download_seen
    ADD CONSTRAINT download_seen_day_fkey FOREIGN KEY (day) REFERENCES public.download_key(day) ON DELETE CASCADE;
ALTER TABLE ONLY public.download
    ADD CONSTRAINT download_wheel_id_fkey FOREIGN KEY (wheel_id) REFERENCES public.wheel(wheel_id);
ALTER TABLE ONLY public.incident
    ADD CONSTRAINT incident_builder_id_fkey FOREIGN KEY (builder_id) REFERENCES public.builder(builder_id);
ALTER TABLE ONLY public.lease
    ADD CONSTRAINT lease_builder_id_fkey FOREIGN KEY (builder_id) REFERENCES public.builder(builder_id);
ALTER TABLE ONLY public.page_due
    ADD CONSTRAINT page_due_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.project(project_id);
ALTER TABLE ONLY public.queue
    ADD CONSTRAINT queue_build_id_fkey FOREIGN KEY (build_id) REFERENCES public.build(build_id);
ALTER TABLE ONLY public.queue
    ADD CONSTRAINT queue_builder_id_fkey FOREIGN KEY (builder_id) REFERENCES public.builder(builder_id);
ALTER TABLE ONLY public.queue
    ADD CONSTRAINT queue_waits_for_fkey FOREIGN KEY (waits_for) REFERENCES public.build(build_id);
ALTER TABLE ONLY public.release
    ADD CONSTRAINT release_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.project(project_id);
ALTER TABLE ONLY public.target
    ADD CONSTRAINT target_os_release_fkey FOREIGN KEY (os_release) REFERENCES public.os_release(os_release);
ALTER TABLE ONLY public.upstream_file
    ADD CONSTRAINT upstream_file_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.project(project_id);
ALTER TABLE ONLY public.upstream_file
    ADD CONSTRAINT upstream_file_release_id_fkey FOREIGN KEY (release_id) REFERENCES public.release(release_id);
ALTER TABLE ONLY public.wheel
    ADD CONSTRAINT wheel_attempt_id_fkey FOREIGN KEY (attempt_id) REFERENCES public.attempt(attempt_id);
ALTER TABLE ONLY public.wheel
    ADD CONSTRAINT wheel_build_id_fkey FOREIGN KEY (build_id) REFERENCES public.build(build_id);
ALTER TABLE ONLY public.wheel
    ADD CONSTRAINT wheel_twin_of_fkey FOREIGN KEY (twin_of) REFERENCES public.wheel(wheel_id);
REVOKE USAGE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO piwheels_dispatcher;
GRANT USAGE ON SCHEMA public TO piwheels_builder;
GRANT USAGE ON SCHEMA public TO piwheels_publisher;
GRANT USAGE ON SCHEMA public TO piwheels_reader;
REVOKE ALL ON FUNCTION public.admit_login(its_login text) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.adopt_wheel(its_wheel bigint, published_filename text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.adopt_wheel(its_wheel bigint, published_filename text) TO piwheels_publisher;
GRANT SELECT ON TABLE public.builder TO piwheels_reader;
GRANT SELECT ON TABLE public.builder TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.builder TO piwheels_publisher;
REVOKE ALL ON FUNCTION public.answer_without_lease(me public.builder, of_lease uuid, of_build bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.breaker_limit(usual real, weight real, margin real, several real) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.build_again(builds bigint[], why text) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.check_build_transition() FROM PUBLIC;
REVOKE ALL ON FUNCTION public.choose_leaving_hosted_pis(prefix text, keep integer, account jsonb, listed_at timestamp with time zone) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.class_needed(peak bigint, class_before smallint, ran_out boolean, of_target smallint) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.compare_hosted_pis(prefix text, account jsonb, listed_at timestamp with time zone) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.cost_of_project(its_project integer, its_target smallint, OUT seconds real, OUT memory_class smallint) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.count_attempts() FROM PUBLIC;
REVOKE ALL ON FUNCTION public.count_builds() FROM PUBLIC;
REVOKE ALL ON FUNCTION public.count_catalogue() FROM PUBLIC;
REVOKE ALL ON FUNCTION public.count_downloads(of_log text, read_from bigint, now_read_to bigint, requests jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION public.count_downloads(of_log text, read_from bigint, now_read_to bigint, requests jsonb) TO piwheels_dispatcher;
REVOKE ALL ON FUNCTION public.count_power_cycle(its_name text) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.count_queue() FROM PUBLIC;
REVOKE ALL ON FUNCTION public.count_wheels() FROM PUBLIC;
REVOKE ALL ON FUNCTION public.demanded_priority(its_release bigint, otherwise integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.distrust_builder(its_name text, since timestamp with time zone, why text, withdraw boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION public.distrust_builder(its_name text, since timestamp with time zone, why text, withdraw boolean) TO piwheels_publisher;
REVOKE ALL ON FUNCTION public.drop_demand(its_project text, its_version text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.drop_demand(its_project text, its_version text) TO piwheels_dispatcher;
REVOKE ALL ON FUNCTION public.end_delays() FROM PUBLIC;
GRANT ALL ON FUNCTION public.end_delays() TO piwheels_dispatcher;
REVOKE ALL ON FUNCTION public.end_long_sessions(than interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.enqueue(wanted_build bigint, its_priority integer, guess_seconds real, leader bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.failed_builds(its_outcome public.outcome, its_missing text, its_toolchain text, its_target text, its_builder text, its_text text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.failed_builds(its_outcome public.outcome, its_missing text, its_toolchain text, its_target text, its_builder text, its_text text) TO piwheels_dispatcher;
GRANT ALL ON FUNCTION public.failed_builds(its_outcome public.outcome, its_missing text, its_toolchain text, its_target text, its_builder text, its_text text) TO piwheels_reader;
REVOKE ALL ON FUNCTION public.failures_limit(usual real, several real) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.failures_of(its_builder integer, since timestamp with time zone) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.faults_limit(usual real, several real) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.fleet_alarm() FROM PUBLIC;
REVOKE ALL ON FUNCTION public.fold_downloads() FROM PUBLIC;
GRANT ALL ON FUNCTION public.fold_downloads() TO piwheels_dispatcher;
REVOKE ALL ON FUNCTION public.fold_statistics() FROM PUBLIC;
REVOKE ALL ON FUNCTION public.hears_builders() FROM PUBLIC;
REVOKE ALL ON FUNCTION public.heartbeat(leases_held uuid[], begun bigint[], term interval, room boolean, its_session uuid, its_temperature double precision, its_memory_free bigint, its_memory_total bigint, its_disk_free bigint, is_throttled boolean, is_under_voltage boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION public.heartbeat(leases_held uuid[], begun bigint[], term interval, room boolean, its_session uuid, its_temperature double precision, its_memory_free bigint, its_memory_total bigint, its_disk_free bigint, is_throttled boolean, is_under_voltage boolean) TO piwheels_builder;
REVOKE ALL ON FUNCTION public.is_one_host(me public.builder, its_session uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.is_trusted(public.builder, recorded timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.is_trusted(public.builder, recorded timestamp with time zone) TO piwheels_dispatcher;
GRANT ALL ON FUNCTION public.is_trusted(public.builder, recorded timestamp with time zone) TO piwheels_publisher;
GRANT ALL ON FUNCTION public.is_trusted(public.builder, recorded timestamp with time zone) TO piwheels_reader;
REVOKE ALL ON FUNCTION public.largest_class(of_target smallint) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.learn_estimates(most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.learn_estimates(most integer) TO piwheels_dispatcher;
REVOKE ALL ON FUNCTION public.lease_batch(to_builder text, budget_seconds real, most_builds integer, term interval, longest_seconds real, critical_seconds real) FROM PUBLIC;
GRANT ALL ON FUNCTION public.lease_batch(to_builder text, budget_seconds real, most_builds integer, term interval, longest_seconds real, critical_seconds real) TO piwheels_dispatcher;
REVOKE ALL ON FUNCTION public.listings_written(seen_changes bigint, its_names integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.listings_written(seen_changes bigint, its_names integer) TO piwheels_publisher;
REVOKE ALL ON FUNCTION public.log_stored(its_attempt bigint, its_filename text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.log_stored(its_attempt bigint, its_filename text) TO piwheels_publisher;
REVOKE ALL ON FUNCTION public.lose_wheel(its_wheel bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION public.lose_wheel(its_wheel bigint) TO piwheels_publisher;
REVOKE ALL ON FUNCTION public.lose_wheels_of(its_builder integer, since timestamp with time zone) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.make_pages_due(names text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.make_pages_due(names text[]) TO piwheels_publisher;
REVOKE ALL ON FUNCTION public.may_be_wheel_of(its_build bigint, filename text) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.mind_silent_hosted_pis(prefix text, silence interval, most integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.moved(average real, weight real, event boolean, counts boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.my_builder() FROM PUBLIC;
REVOKE ALL ON FUNCTION public.next_builds(for_builder public.builder, budget_seconds real, most_builds integer, longest_seconds real, critical_seconds real, passed_over bigint[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.note_demand(its_project text, its_version text, times integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.note_demand(its_project text, its_version text, times integer) TO piwheels_dispatcher;
REVOKE ALL ON FUNCTION public.note_health(its_builder integer, its_priority smallint, its_project integer, its_outcome public.outcome, whose public.blame, again boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.note_incident(its_builder integer, deed text) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.note_libraries(its_wheel bigint, names text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.note_libraries(its_wheel bigint, names text[]) TO piwheels_publisher;
REVOKE ALL ON FUNCTION public.page_changed(its_project integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.page_changed(its_project integer) TO piwheels_dispatcher;
REVOKE ALL ON FUNCTION public.pages_come_or_go(projects integer[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.pages_come_or_go(projects integer[]) TO piwheels_publisher;
REVOKE ALL ON FUNCTION public.pages_written(projects integer[], seen_changes bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.pages_written(projects integer[], seen_changes bigint[]) TO piwheels_publisher;
REVOKE ALL ON FUNCTION public.pause_dispatch(its_name text, why text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.pause_dispatch(its_name text, why text) TO piwheels_dispatcher;
REVOKE ALL ON FUNCTION public.plan_hosted_pis(prefix text, wanted integer, its_specification jsonb, account jsonb, listed_at timestamp with time zone, builders text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.possible_bytes(said bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.publish_twin(its_wheel bigint, its_filename text, its_sha256 text, its_size bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION public.publish_twin(its_wheel bigint, its_filename text, its_sha256 text, its_size bigint) TO piwheels_publisher;
REVOKE ALL ON FUNCTION public.publish_wheel(its_wheel bigint, its_filename text, its_sha256 text, its_size bigint, its_requires_python text, its_metadata_sha256 text, its_glibc_floor text, served smallint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.publish_wheel(its_wheel bigint, its_filename text, its_sha256 text, its_size bigint, its_requires_python text, its_metadata_sha256 text, its_glibc_floor text, served smallint[]) TO piwheels_publisher;
REVOKE ALL ON FUNCTION public.quarantine_builder(its_builder integer, why text) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.queue_standing(lease_id uuid, held text, waits_for bigint, memory_class smallint) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.reclaim_leases(term interval) FROM PUBLIC;
GRANT ALL ON FUNCTION public.reclaim_leases(term interval) TO piwheels_dispatcher;
REVOKE ALL ON FUNCTION public.record_attempt(of_lease uuid, of_build bigint, its_outcome public.outcome, its_start timestamp with time zone, its_seconds real, its_peak_memory bigint, its_error_line text, its_log_tail text, its_toolchain text, wheel_filename text, wheel_sha256 text, wheel_size bigint, its_mechanism text, its_missing text, its_log_size bigint, its_import public.import_result, its_import_detail text, its_libraries jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION public.record_attempt(of_lease uuid, of_build bigint, its_outcome public.outcome, its_start timestamp with time zone, its_seconds real, its_peak_memory bigint, its_error_line text, its_log_tail text, its_toolchain text, wheel_filename text, wheel_sha256 text, wheel_size bigint, its_mechanism text, its_missing text, its_log_size bigint, its_import public.import_result, its_import_detail text, its_libraries jsonb) TO piwheels_builder;
REVOKE ALL ON FUNCTION public.recount_statistics() FROM PUBLIC;
REVOKE ALL ON FUNCTION public.refuse_wheel(its_wheel bigint, why text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.refuse_wheel(its_wheel bigint, why text) TO piwheels_publisher;
REVOKE ALL ON FUNCTION public.register_builder(its_name text, its_memory_class integer, its_slots integer, its_targets smallint[], its_certificate_serial numeric, its_host_keys text[], its_address text, its_slowness real) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.release_lease(of_lease uuid, why text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.release_lease(of_lease uuid, why text) TO piwheels_dispatcher;
REVOKE ALL ON FUNCTION public.replicas() FROM PUBLIC;
GRANT ALL ON FUNCTION public.replicas() TO piwheels_dispatcher;
GRANT ALL ON FUNCTION public.replicas() TO piwheels_reader;
REVOKE ALL ON FUNCTION public.requeue_build(wanted_build bigint, why text, its_priority integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.requeue_build(wanted_build bigint, why text, its_priority integer) TO piwheels_dispatcher;
REVOKE ALL ON FUNCTION public.requeue_failures(why text, its_outcome public.outcome, its_missing text, its_toolchain text, its_target text, its_builder text, its_text text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.requeue_failures(why text, its_outcome public.outcome, its_missing text, its_toolchain text, its_target text, its_builder text, its_text text) TO piwheels_dispatcher;
REVOKE ALL ON FUNCTION public.resume_dispatch(its_name text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.resume_dispatch(its_name text) TO piwheels_dispatcher;
REVOKE ALL ON FUNCTION public.retire_builder(its_name text, why text) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.retry_build(its_build bigint, fault public.outcome, larger boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.settle_hosted_pi(its_name text, its_failure text) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.settled(leases uuid[], builds bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.settled(leases uuid[], builds bigint[]) TO piwheels_builder;
GRANT SELECT ON TABLE public.hosted_pi TO piwheels_reader;
GRANT SELECT ON TABLE public.hosted_pi TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.hosted_pi TO piwheels_publisher;
REVOKE ALL ON FUNCTION public.silent_hosted_pis(prefix text, silence interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.skip_build(unwanted bigint, why text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.skip_build(unwanted bigint, why text) TO piwheels_dispatcher;
REVOKE ALL ON FUNCTION public.suspect_builder(its_name text, what text, quarantine boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION public.suspect_builder(its_name text, what text, quarantine boolean) TO piwheels_publisher;
REVOKE ALL ON FUNCTION public.take_back_leases(from_builder integer, why text) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.take_turn() FROM PUBLIC;
REVOKE ALL ON FUNCTION public.told_hosted_pis(prefix text, account jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.told_of_builder(its_name text) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.trip_breaker() FROM PUBLIC;
GRANT ALL ON FUNCTION public.trip_breaker() TO piwheels_dispatcher;
REVOKE ALL ON FUNCTION public.unfinished(leader bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.unpark_builds_of(its_builder integer, since timestamp with time zone) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.vain_power_cycles(pi public.hosted_pi) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.wake_orphans() FROM PUBLIC;
GRANT ALL ON FUNCTION public.wake_orphans() TO piwheels_dispatcher;
REVOKE ALL ON FUNCTION public.wake_siblings(leader bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.want_build(its_release bigint, its_target smallint, its_priority integer, guess_seconds real, leader bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION public.want_build(its_release bigint, its_target smallint, its_priority integer, guess_seconds real, leader bigint) TO piwheels_dispatcher;
REVOKE ALL ON FUNCTION public.want_builds(releases bigint[], targets smallint[], priorities smallint[], guesses real[], leader_targets smallint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.want_builds(releases bigint[], targets smallint[], priorities smallint[], guesses real[], leader_targets smallint[]) TO piwheels_dispatcher;
REVOKE ALL ON FUNCTION public.want_first_builds(releases bigint[], targets smallint[], priorities smallint[], guesses real[], leader_targets smallint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.want_first_builds(releases bigint[], targets smallint[], priorities smallint[], guesses real[], leader_targets smallint[]) TO piwheels_dispatcher;
REVOKE ALL ON FUNCTION public.want_targets() FROM PUBLIC;
REVOKE ALL ON FUNCTION public.wheel_standing(filename text, published_at timestamp with time zone, withdrawn_at timestamp with time zone) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.withdraw_twin() FROM PUBLIC;
REVOKE ALL ON FUNCTION public.withdraw_wheel(its_wheel bigint, why text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.withdraw_wheel(its_wheel bigint, why text) TO piwheels_publisher;
GRANT SELECT ON TABLE public.attempt TO piwheels_reader;
GRANT SELECT ON TABLE public.attempt TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.attempt TO piwheels_publisher;
GRANT SELECT ON TABLE public.build TO piwheels_reader;
GRANT SELECT ON TABLE public.build TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.build TO piwheels_publisher;
GRANT SELECT ON TABLE public.build_transition TO piwheels_reader;
GRANT SELECT ON TABLE public.build_transition TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.build_transition TO piwheels_publisher;
GRANT SELECT ON TABLE public.builder_health TO piwheels_reader;
GRANT SELECT ON TABLE public.builder_health TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.builder_health TO piwheels_publisher;
GRANT SELECT ON TABLE public.builder_alarm TO piwheels_reader;
GRANT SELECT ON TABLE public.builder_alarm TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.builder_alarm TO piwheels_publisher;
GRANT SELECT ON TABLE public.queue TO piwheels_reader;
GRANT SELECT ON TABLE public.queue TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.queue TO piwheels_publisher;
GRANT SELECT ON TABLE public.wheel TO piwheels_reader;
GRANT SELECT ON TABLE public.wheel TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.wheel TO piwheels_publisher;
GRANT SELECT ON TABLE public.builder_load TO piwheels_reader;
GRANT SELECT ON TABLE public.builder_load TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.builder_load TO piwheels_publisher;
GRANT SELECT ON TABLE public.builder_target TO piwheels_reader;
GRANT SELECT ON TABLE public.builder_target TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.builder_target TO piwheels_publisher;
GRANT SELECT ON TABLE public.demand TO piwheels_reader;
GRANT SELECT ON TABLE public.demand TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.demand TO piwheels_publisher;
GRANT SELECT ON TABLE public.dispatch_pause TO piwheels_reader;
GRANT SELECT ON TABLE public.dispatch_pause TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.dispatch_pause TO piwheels_publisher;
GRANT SELECT ON TABLE public.download TO piwheels_reader;
GRANT SELECT ON TABLE public.download TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.download TO piwheels_publisher;
GRANT SELECT ON TABLE public.download_log TO piwheels_reader;
GRANT SELECT ON TABLE public.download_log TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.download_log TO piwheels_publisher;
GRANT SELECT ON TABLE public.incident TO piwheels_reader;
GRANT SELECT ON TABLE public.incident TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.incident TO piwheels_publisher;
GRANT SELECT ON TABLE public.learned TO piwheels_reader;
GRANT SELECT ON TABLE public.learned TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.learned TO piwheels_publisher;
GRANT SELECT ON TABLE public.lease TO piwheels_reader;
GRANT SELECT ON TABLE public.lease TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.lease TO piwheels_publisher;
GRANT SELECT ON TABLE public.listing TO piwheels_reader;
GRANT SELECT ON TABLE public.listing TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.listing TO piwheels_publisher;
GRANT SELECT ON TABLE public.project TO piwheels_reader;
GRANT SELECT,INSERT,UPDATE ON TABLE public.project TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.project TO piwheels_publisher;
GRANT SELECT ON TABLE public.log_awaiting TO piwheels_reader;
GRANT SELECT ON TABLE public.log_awaiting TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.log_awaiting TO piwheels_publisher;
GRANT SELECT ON TABLE public.memory_limit TO piwheels_reader;
GRANT SELECT ON TABLE public.memory_limit TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.memory_limit TO piwheels_publisher;
GRANT SELECT ON TABLE public.operator_instruction TO piwheels_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.operator_instruction TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.operator_instruction TO piwheels_publisher;
GRANT SELECT ON TABLE public.opt_out TO piwheels_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.opt_out TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.opt_out TO piwheels_publisher;
GRANT SELECT ON TABLE public.os_release TO piwheels_reader;
GRANT SELECT ON TABLE public.os_release TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.os_release TO piwheels_publisher;
GRANT SELECT ON TABLE public.outcome_meaning TO piwheels_reader;
GRANT SELECT ON TABLE public.outcome_meaning TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.outcome_meaning TO piwheels_publisher;
GRANT SELECT ON TABLE public.page_due TO piwheels_reader;
GRANT SELECT ON TABLE public.page_due TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.page_due TO piwheels_publisher;
GRANT SELECT ON TABLE public.page_instruction TO piwheels_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.page_instruction TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.page_instruction TO piwheels_publisher;
GRANT SELECT ON TABLE public.release TO piwheels_reader;
GRANT SELECT,INSERT,UPDATE ON TABLE public.release TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.release TO piwheels_publisher;
GRANT SELECT ON TABLE public.schema_step TO piwheels_reader;
GRANT SELECT ON TABLE public.schema_step TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.schema_step TO piwheels_publisher;
GRANT SELECT ON TABLE public.statistic TO piwheels_reader;
GRANT SELECT ON TABLE public.statistic TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.statistic TO piwheels_publisher;
GRANT SELECT ON TABLE public.statistic_change TO piwheels_reader;
GRANT SELECT ON TABLE public.statistic_change TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.statistic_change TO piwheels_publisher;
GRANT SELECT ON TABLE public.statistics TO piwheels_reader;
GRANT SELECT ON TABLE public.statistics TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.statistics TO piwheels_publisher;
GRANT SELECT ON TABLE public.target TO piwheels_reader;
GRANT SELECT ON TABLE public.target TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.target TO piwheels_publisher;
GRANT UPDATE(swept_to) ON TABLE public.target TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.unfollowed_project TO piwheels_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.unfollowed_project TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.unfollowed_project TO piwheels_publisher;
GRANT SELECT ON TABLE public.upstream_file TO piwheels_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.upstream_file TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.upstream_file TO piwheels_publisher;
GRANT SELECT ON TABLE public.upstream_state TO piwheels_reader;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.upstream_state TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.upstream_state TO piwheels_publisher;
GRANT SELECT ON TABLE public.wheel_awaiting TO piwheels_reader;
GRANT SELECT ON TABLE public.wheel_awaiting TO piwheels_dispatcher;
GRANT SELECT ON TABLE public.wheel_awaiting TO piwheels_publisher;
