-- The builds to lease next for a builder, worth about budget_seconds of its slots' time, at most most_builds, without those in
-- passed_over and those that would take it longer than longest_seconds. Reads the head of the queue's index once per target and memory
-- class, once more for what would take critical_seconds (of a Pi 4) and goes first, and locks nothing. A build counts no more than one
-- slot's share of the budget, so that hours of a single one do not stand for work of all slots.
CREATE OR REPLACE FUNCTION next_builds(
    for_builder builder, budget_seconds real, most_builds integer, longest_seconds real, critical_seconds real, passed_over bigint[])
RETURNS bigint[] LANGUAGE sql STABLE AS $$
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

-- Four leasers at a time, until their transactions end: sixty-four at the same head of the queue would each look past what the others
-- hold; one alone would leave the other processors idle, and everybody would wait for each commit to reach the disk.
-- Who has waited two seconds goes on without a turn, since what keeps leases apart are locks of rows.
CREATE OR REPLACE FUNCTION take_turn() RETURNS void LANGUAGE plpgsql AS $$
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

-- Lease builds worth about budget_seconds to one builder, at most most_builds of them, for term. At least one where any fits; none that
-- would take it longer than longest_seconds, and first what of the back catalogue would take a Pi 4 critical_seconds or more. The
-- rows are everything a builder needs to know; the same lease id stands on all of them. Several callers at once never get
-- the same build: what another one holds at this moment is passed over, and so is a release whose sdist is gone. Nothing while the
-- builder or all dispatch is paused, the builder is quarantined or has no room.
CREATE OR REPLACE FUNCTION lease_batch(
    to_builder text, budget_seconds real, most_builds integer, term interval,
    longest_seconds real DEFAULT 'Infinity', critical_seconds real DEFAULT 'Infinity'
)
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

-- Give back what was leased but could not be delivered, or what a retired builder still held. Builds that began count as lost.
CREATE OR REPLACE FUNCTION release_lease(of_lease uuid, why text) RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
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

-- Whether any builder was heard of in the last ten minutes; each speaks every other minute at least. Where none was, the index host
-- is cut off, and not they. A fleet of which none was ever heard counts as heard.
CREATE OR REPLACE FUNCTION hears_builders() RETURNS boolean LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT coalesce(max(last_seen_at) > now() - interval '10 minutes', true) FROM builder WHERE standing <> 'retired'
$$;

-- Take back leases that expired: by this clock alone, and never within one term of a database start or while nobody is heard of, so
-- that builders have had the time to say that they live. What is told of leases and incidents is forgotten after sixty days, and so is what
-- nobody asked for since. Whoever keeps the database busy for ten minutes is shown the door. Changes of counts are folded.
CREATE OR REPLACE FUNCTION reclaim_leases(term interval) RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
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

-- Let builds whose pause is over be leased again. What another caller is letting go at this moment is left to it.
CREATE OR REPLACE FUNCTION end_delays() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE queue SET not_before = '-infinity'
    WHERE build_id IN (
        SELECT build_id FROM queue WHERE not_before > '-infinity' AND not_before <= now() FOR UPDATE SKIP LOCKED)
$$;

-- Start builds that wait for a sibling nobody can build: parked, or of a target without a builder large enough that is active or will
-- be again. Reads those leaders, and not who waits: that a leader has not ended is seen to when somebody begins to wait (unfinished).
CREATE OR REPLACE FUNCTION wake_orphans() RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
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
