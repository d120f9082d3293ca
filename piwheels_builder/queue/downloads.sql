-- name: read_to(first_line)$
-- How far a log is counted; nothing for a new one.
SELECT read_to FROM download_log WHERE first_line = :first_line;

-- name: count_downloads(of_log, read_from, read_to, requests)$
-- Count a piece of a log; false where it is counted already.
SELECT count_downloads(:of_log, :read_from, :read_to, :requests);

-- name: fold_downloads()$
-- Fold what is past, and forget the keys of past days.
SELECT fold_downloads();

-- name: downloads_of(project_ids, since)
-- Downloads of the wheels of some projects, by day (past ninety days: by month), the newest first.
SELECT project_id, wheel.filename, day, number, repeated, bots
FROM download JOIN wheel USING (wheel_id)
WHERE project_id = ANY (:project_ids) AND day >= :since
ORDER BY project_id, day DESC, wheel.filename;

-- name: most_downloaded(since, most)
-- The projects with the most downloads since a day.
SELECT project.name, sum(number)::bigint, sum(repeated)::bigint, sum(bots)::bigint
FROM download JOIN project USING (project_id)
WHERE day >= :since
GROUP BY project.name ORDER BY 2 DESC, 1 LIMIT :most;

-- name: project_ids(names)
-- The ids of projects by their normalized names.
SELECT name, project_id FROM project WHERE name = ANY (:names);
