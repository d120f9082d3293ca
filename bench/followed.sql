-- name: moments(project, version)^
-- When the last attempt of a release was leased, begun, recorded and its wheel published, in seconds since 1970.
SELECT extract(epoch FROM lease.leased_at)::float, extract(epoch FROM attempt.started_at)::float,
       extract(epoch FROM attempt.recorded_at)::float, extract(epoch FROM wheel.published_at)::float
FROM project
JOIN release USING (project_id)
JOIN build USING (release_id)
JOIN attempt USING (build_id)
JOIN lease USING (lease_id)
LEFT JOIN wheel USING (attempt_id)
WHERE project.name = :project AND release.spelling = :version
ORDER BY attempt.attempt_id DESC
LIMIT 1;
