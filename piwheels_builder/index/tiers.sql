-- name: published_after(wheel_id, days, releases, portion)
-- The next portion of published wheels; may_go where nobody who is not bound to it by a lock file installs it: withdrawn, or of a
-- release that is not among the newest, and that since so many days.
SELECT wheel.wheel_id, project.name, wheel.filename, wheel.sha256, wheel.size,
       coalesce(wheel.withdrawn_at, wheel.published_at) < now() - make_interval(days => :days)
       AND (wheel.withdrawn_at IS NOT NULL OR release.newest_first > :releases) AS may_go
FROM wheel
JOIN build USING (build_id)
JOIN release USING (release_id)
JOIN project USING (project_id)
WHERE wheel.published_at IS NOT NULL AND wheel.wheel_id > :wheel_id
ORDER BY wheel.wheel_id
LIMIT :portion;
