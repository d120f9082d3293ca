-- The memory class that the next try of a build needs, after one that used peak bytes in a class: above four fifths of what a class may
-- use, the next one; after running out of memory, at least the class above that try's. Never more than any builder of its target has.
CREATE OR REPLACE FUNCTION class_needed(peak bigint, class_before smallint, ran_out boolean, of_target smallint) RETURNS smallint
LANGUAGE sql STABLE AS $$
    -- Most need the smallest class: then the fleet's builders are not looked at.
    SELECT CASE WHEN needed = 0 THEN 0 ELSE least(needed, coalesce(largest_class(of_target), 2)) END::smallint
    FROM (
        SELECT greatest((SELECT count(*) FROM memory_limit WHERE peak > 0.8 * bytes),
                        CASE WHEN ran_out THEN class_before + 1 ELSE 0 END) AS needed) AS class
$$;

-- The last word on how long a build will take and what memory it needs: the last five of its project's ten newest attempts that
-- ended by no fault of ours. Without any, null seconds and the smallest class.
CREATE OR REPLACE FUNCTION cost_of_project(its_project integer, its_target smallint, OUT seconds real, OUT memory_class smallint)
LANGUAGE plpgsql STABLE AS $$
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

-- A build that others may wait for: it, where it has not ended and will not while this transaction lasts, else null. Somebody who
-- waited for one that ended a moment ago would wait for ever.
CREATE OR REPLACE FUNCTION unfinished(leader bigint) RETURNS bigint LANGUAGE plpgsql STRICT AS $$
BEGIN
    PERFORM FROM queue WHERE build_id = leader FOR SHARE;
    IF FOUND THEN
        RETURN leader;
    END IF;
    -- Its wheel is yet to be published.
    RETURN (SELECT build_id FROM build WHERE build_id = leader AND state = 'built' FOR SHARE);
END $$;

-- Put a pending build into the queue. Nothing happens where it is there already.
CREATE OR REPLACE FUNCTION enqueue(wanted_build bigint, its_priority integer, guess_seconds real, leader bigint DEFAULT NULL)
RETURNS void LANGUAGE plpgsql AS $$
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

-- Want many builds at once, each as want_build does; five arrays of one length. leader_targets names the target whose build of the same
-- release leads, null where none does; it may be among those asked for here. The answer is what this call put into the queue.
CREATE OR REPLACE FUNCTION want_builds(
    releases bigint[], targets smallint[], priorities smallint[], guesses real[], leader_targets smallint[]
) RETURNS TABLE (release_id bigint, target_id smallint)
-- Joined in the order written, by index: a plan for arrays of unknown length compares each build with each.
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET join_collapse_limit = 1 AS $$
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

-- Want the first builds of releases that are new, of projects that are new: such have no attempts to learn from, nobody asked for them,
-- and none of their builds is there, or all is refused. Arrays and leaders as in want_builds; the answer is how many there are.
CREATE OR REPLACE FUNCTION want_first_builds(
    releases bigint[], targets smallint[], priorities smallint[], guesses real[], leader_targets smallint[]
) RETURNS bigint
-- By hash: a plan for arrays of unknown length compares each build with each.
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET enable_nestloop = off AS $$
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
