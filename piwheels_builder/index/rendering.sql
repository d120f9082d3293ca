-- name: lock_project(project_id)^
-- One publication at a time per project, until unlock_project or the end of the connection. 0x7077 is the number of this kind of lock.
SELECT pg_advisory_lock(28791, :project_id);

-- name: unlock_project(project_id)^
-- The next one may.
SELECT pg_advisory_unlock(28791, :project_id);

-- name: lock_listings()^
-- One writer of the listings at a time, until the transaction ends.
SELECT pg_advisory_xact_lock(28792, 0);

-- name: due_projects()
-- Projects whose pages no longer say what the database says.
SELECT project_id FROM page_due ORDER BY project_id;

-- name: held_projects(names)
-- Every project that we have a page of or may have one: those with published wheels, and those named. Reads all wheels.
SELECT DISTINCT release.project_id
FROM wheel JOIN build USING (build_id) JOIN release USING (release_id)
WHERE wheel.published_at IS NOT NULL
UNION
SELECT project_id FROM project WHERE name = ANY (:names)
ORDER BY project_id;

-- name: page_written(project_id, changes)$
-- The page on disk says what the database said at these changes.
SELECT page_written(:project_id, :changes);
