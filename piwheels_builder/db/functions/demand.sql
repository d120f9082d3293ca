-- The priority that a release is queued with: that of what users asked for, where they did, else the caller's.
CREATE OR REPLACE FUNCTION demanded_priority(its_release bigint, otherwise integer) RETURNS smallint
LANGUAGE plpgsql STABLE AS $$
-- A plan of plpgsql's is made once a session, that of an SQL function with every call.
BEGIN
    RETURN CASE WHEN EXISTS (
               SELECT FROM release JOIN project USING (project_id)
               JOIN demand ON demand.project = project.name
                          AND (demand.version = release.version OR (demand.version = '' AND release.newest_first = 1))
               WHERE release.release_id = its_release)
           THEN -1 ELSE otherwise END;
END $$;

-- Users asked for a project's newest release (version '') or for one release, times times, and could not get it: what is queued of it goes
-- first, for all targets, and what will be queued of it, too. The answer is how many builds go first that did not. A name that is
-- in no catalogue is no demand, and null the answer.
CREATE OR REPLACE FUNCTION note_demand(its_project text, its_version text, times integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
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

-- Nobody has to wait for it any more: what is queued of it goes where it would have gone. False where there was no such demand.
CREATE OR REPLACE FUNCTION drop_demand(its_project text, its_version text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
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
