-- name: fill_targets(releases)!
-- Three ABIs, one builder that builds them all. (Every fill takes the size, so that one loop calls them.)
WITH made AS (
    INSERT INTO target (python, architecture, os_release, abi_order)
    SELECT 'cp3' || minor, 'armv7l', 'bookworm', 600 + 2 * minor FROM unnest(ARRAY[9, 11, 13]) AS minor, (SELECT :releases) AS size
    RETURNING target_id)
SELECT register_builder('bench', 2, 4, array_agg(target_id)) FROM made;

-- name: fill_projects(releases)!
-- 6.6 releases a project, as in the first run.
INSERT INTO project (name) SELECT 'project-' || n FROM generate_series(1, (:releases / 6.6)::int) AS n;

-- name: fill_releases(releases)!
INSERT INTO release (project_id, version, spelling, newest_first)
SELECT 1 + mod(n, (:releases / 6.6)::int), '1.' || n, '1.' || n, 1 + n / (:releases / 6.6)::int FROM generate_series(0, :releases - 1) AS n
ON CONFLICT DO NOTHING;

-- name: fill_files(releases)!
INSERT INTO upstream_file (project_id, filename, release_id, kind, url, sha256, size, upload_time)
SELECT project_id, 'sdist-' || release_id || '.tar.gz', release_id, 'sdist', 'http://upstream.invalid/' || release_id,
       repeat('a', 64), 1000 + random() * :releases, now()
FROM release;

-- name: fill_builds(releases)!
-- One in a hundred is wanted now, the rest is history: three in four published.
INSERT INTO build (release_id, target_id, state, reason)
SELECT release_id, target_id,
       (CASE WHEN mod(release_id * 31 + target_id, 100) = 0 THEN 'pending'
             WHEN mod(release_id + target_id, 4) = 0 THEN 'failed' ELSE 'published' END)::build_state, 'size ' || :releases
FROM release, target;

-- name: fill_attempts(releases)!
INSERT INTO attempt (build_id, project_id, lease_id, builder_id, outcome, started_at, seconds, log_tail)
SELECT build_id, project_id, gen_random_uuid(), 1, (CASE state WHEN 'failed' THEN 'build_error' ELSE 'built' END)::outcome,
       now() - interval '1 day', 1 + random() * 100, 'size ' || :releases
FROM build JOIN release USING (release_id) WHERE state <> 'pending';

-- name: fill_wheels(releases)!
INSERT INTO wheel (build_id, attempt_id, filename, sha256, size, published_at)
SELECT build_id, attempt_id, 'wheel-' || build_id || '-py3-none-any.whl', repeat('b', 64), :releases, now()
FROM attempt WHERE outcome = 'built';

-- name: fill_queue(releases)!
INSERT INTO queue (build_id, target_id, memory_class, priority, estimate_seconds)
SELECT build_id, target_id, mod(build_id, 3), 1 + mod(build_id, 2), 1 + random() * least(:releases, 300) FROM build WHERE state = 'pending';

-- name: analyze()#
ANALYZE;

-- name: checkpoint()#
-- What the filling left to be written is not the queue's cost.
CHECKPOINT;

-- name: row_counts()
SELECT 'releases', count(*) FROM release
UNION ALL SELECT 'builds', count(*) FROM build
UNION ALL SELECT 'attempts', count(*) FROM attempt
UNION ALL SELECT 'queued', count(*) FROM queue;

-- name: lease(builds)
-- One batch, bounded by its number of builds.
SELECT lease_id, build_id, replace(project, '-', '_') || '-' || version || '-py3-none-any.whl' AS wheel
FROM lease_batch('bench', 1e9, :builds, '4 hours');

-- name: record_success(lease_id, build_id, wheel)$
SELECT record_attempt(:lease_id, :build_id, 'built', now(), 3.5, 50000000, NULL, 'the log', 'gcc 12',
                      :wheel, repeat('c', 64), 12345);

-- name: record_failure(lease_id, build_id)$
SELECT record_attempt(:lease_id, :build_id, 'compile_error', now(), 3.5, 50000000, 'error: expected ;', repeat('log ', 2500),
                      'gcc 12', NULL, NULL, NULL);

-- name: explain_inner_statements()#
-- Tell the plan of every statement inside functions, as a notice.
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_nested_statements = on;
SET auto_explain.log_format = 'json';
SET auto_explain.log_level = 'notice';

-- name: be_the_bench_builder()#
SET SESSION AUTHORIZATION builder_bench;
