-- What the attempts since the last call teach: where one took less than half of what was expected, or more than twice as much, the builds
-- of its project that nobody has leased are expected to take what the median of its last five attempts took, in seconds of a Pi 4. A project of which nothing was
-- tried had only a guess, and the back catalogue is built longest first. Where one needed more memory than its class has, or nearly all of
-- it, they need as much: hours of each would be in vain. Reads at most most attempts, and the queued builds of the projects
-- that surprised; one caller at a time, another one has nothing to do. The answer is how many builds are expected to take something else.
CREATE OR REPLACE FUNCTION learn_estimates(most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
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
