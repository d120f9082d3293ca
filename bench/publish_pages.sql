-- name: add_projects(projects)!
-- Projects with nothing yet.
INSERT INTO project (name) SELECT 'project' || number FROM generate_series(1, :projects) AS number;

-- name: add_releases(releases)!
-- The same number of releases each.
INSERT INTO release (project_id, version, spelling, newest_first)
SELECT project_id, number::text, number || '.0', number FROM project, generate_series(1, :releases) AS number;

-- name: add_sdists()!
-- One upstream file of each release.
INSERT INTO upstream_file (project_id, filename, release_id, kind, url, sha256, size, upload_time)
SELECT project_id, name || '-' || spelling || '.tar.gz', release_id, 'sdist', 'http://upstream.invalid/' || release_id,
       repeat('a', 64), 1000, now()
FROM release JOIN project USING (project_id);

-- name: add_builds()!
-- A published build of each release.
INSERT INTO build (release_id, target_id, state, reason)
SELECT release_id, target_id, 'published', 'measured' FROM release, target;

-- name: add_attempts()!
-- One for each build.
INSERT INTO attempt (build_id, project_id, lease_id, builder_id, outcome, started_at, seconds)
SELECT build_id, project_id, gen_random_uuid(), builder_id, 'built', now(), 1 FROM build JOIN release USING (release_id), builder;

-- name: add_wheels()!
-- One for each build, as if published.
INSERT INTO wheel (build_id, attempt_id, filename, sha256, size, requires_python, metadata_sha256, published_at)
SELECT build_id, attempt_id, name || '-' || spelling || '-py3-none-any.whl', repeat('b', 64), 1000, '>=3.8', repeat('c', 64), now()
FROM attempt JOIN build USING (build_id) JOIN release USING (release_id) JOIN project ON project.project_id = release.project_id;

-- name: make_pages_due()!
-- All pages.
INSERT INTO page_due (project_id) SELECT project_id FROM project;

-- name: yank_project(name)!
-- Change something that stands on one page.
UPDATE upstream_file SET yanked = true FROM project WHERE project.project_id = upstream_file.project_id AND name = :name;
