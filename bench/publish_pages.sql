-- name: count_pages()^
-- Projects with published wheels, releases, and wheels of ours that are served.
SELECT count(DISTINCT release.project_id) AS projects, (SELECT count(*) FROM release) AS releases, count(*) AS wheels
FROM wheel JOIN build USING (build_id) JOIN release USING (release_id)
WHERE wheel.published_at IS NOT NULL AND wheel.withdrawn_at IS NULL;

-- name: add_sdists(name, sdists)!
-- Upstream files of one project, each of a release of its own.
WITH made AS (
    INSERT INTO release (project_id, version, spelling, newest_first)
    SELECT project_id, '0.' || number, '0.' || number, number + 1
    FROM project, generate_series(1, :sdists) AS number
    WHERE name = :name
    RETURNING project_id, release_id, spelling
)
INSERT INTO upstream_file (project_id, filename, release_id, kind, url, sha256, size, requires_python, upload_time)
SELECT project_id, name || '-' || spelling || '.tar.gz', release_id, 'sdist', 'http://upstream.invalid/' || release_id,
       repeat('a', 64), 1000, '>=3.8', now()
FROM made JOIN project USING (project_id);
