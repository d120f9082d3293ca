-- name: largest_projects(most)
-- The projects with builds that have the most releases.
SELECT project_id FROM release
WHERE project_id IN (SELECT project_id FROM release JOIN build USING (release_id))
GROUP BY project_id ORDER BY count(*) DESC, project_id LIMIT :most;

-- name: name_of_largest()
-- What the first of them is called.
SELECT name FROM project JOIN release USING (project_id)
WHERE project_id IN (SELECT project_id FROM release JOIN build USING (release_id))
GROUP BY project_id ORDER BY count(*) DESC, project_id LIMIT 1;
