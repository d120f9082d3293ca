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
