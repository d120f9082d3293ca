-- name: failure_groups(part, outcome, missing, toolchain, target, builder, text)
-- Failed and parked builds by outcome, by what was missing, and by one part of the toolchain: how many, of how many projects, and the
-- latest of them with the release's own words. part is the first word of that part, null does not divide by it.
SELECT CASE failed.outcome WHEN 'built' THEN 'refused' ELSE failed.outcome::text END AS outcome, failed.missing, part.part AS toolchain,
       count(*) AS builds, count(DISTINCT release.project_id) AS projects,
       (array_agg(project.name || ' ' || release.spelling ORDER BY failed.attempt_id DESC))[1] AS example,
       (array_agg(coalesce(failed.error_line, build.reason) ORDER BY failed.attempt_id DESC))[1] AS error_line
FROM failed_builds(:outcome::outcome, :missing, :toolchain, :target, :builder, :text) AS failed
JOIN build USING (build_id)
JOIN release ON release.release_id = failed.release_id
JOIN project USING (project_id)
LEFT JOIN LATERAL (
    SELECT part FROM unnest(string_to_array(failed.toolchain, '; ')) AS part WHERE split_part(part, ' ', 1) = :part LIMIT 1
) AS part ON :part::text IS NOT NULL
GROUP BY 1, 2, 3
ORDER BY builds DESC, 1, 2, 3;

-- name: count_failures(outcome, missing, toolchain, target, builder, text)$
-- How many builds requeue_failures would queue again.
SELECT count(*) FROM failed_builds(:outcome::outcome, :missing, :toolchain, :target, :builder, :text);

-- name: requeue_failures(reason, outcome, missing, toolchain, target, builder, text)$
-- Queue them again; how many.
SELECT requeue_failures(:reason, :outcome::outcome, :missing, :toolchain, :target, :builder, :text);
