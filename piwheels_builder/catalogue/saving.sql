-- name: number_of_projects()$
-- How many projects the catalogue has.
SELECT count(*) FROM project;

-- name: spread_projects(most)
-- So many projects at most, evenly spread over the catalogue by when it first heard of them.
SELECT project_id, name, status, status_reason, opt_out.reason AS opted_out
FROM (SELECT min(project_id) AS first, max(project_id) AS last FROM project) AS ends
CROSS JOIN generate_series(first, last, greatest(1, (last - first + :most) / :most)) AS project_id
JOIN project USING (project_id)
LEFT JOIN opt_out ON opt_out.project = project.name;

-- name: named_projects(names)
-- These projects.
SELECT project_id, name, status, status_reason, opt_out.reason AS opted_out
FROM project LEFT JOIN opt_out ON opt_out.project = project.name
WHERE name = ANY (:names);
