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
           demanded_priority(release_id, CASE newest_first WHEN 1 THEN 1 ELSE 2 END), greatest(seconds, 0.1), nullif(leader, build_id)
    FROM led JOIN last USING (build_id) JOIN release USING (release_id)
    ON CONFLICT DO NOTHING;
    RETURN coalesce(cardinality(wanted), 0);
END $$;
