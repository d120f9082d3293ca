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
SELECT 1 + mod(n, (:releases / 6.6)::int), '1.' || n, '1.' || n, 1 + n / (:releases / 6.6)::int FROM generate_series(0, :releases - 1) AS n;

-- name: fill_files(releases)!
INSERT INTO upstream_file (project_id, filename, release_id, kind, url, sha256, size, upload_time)
SELECT project_id, 'sdist-' || release_id || '.tar.gz', release_id, 'sdist', 'http://upstream.invalid/' || release_id,
       repeat('a', 64), 1000 + random() * :releases, now()
FROM release;

-- name: fill_builds(releases, one_in)!
-- One in so many is wanted now, the rest is history: three in four published.
INSERT INTO build (release_id, target_id, state, reason)
SELECT release_id, target_id,
       (CASE WHEN mod(release_id * 31 + target_id, :one_in) = 0 THEN 'pending'
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

-- name: leave_out_checks()#
-- What is filled in refers to what is there, and is counted afterwards in one go. For a superuser.
SET session_replication_role = replica;

-- name: recount()$
SELECT recount_statistics();

-- name: vacuum()#
VACUUM (ANALYZE);

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

-- name: add_leasers(number)
-- Builders of all targets.
SELECT register_builder('leaser-' || n, 2, 4, (SELECT array_agg(target_id) FROM target))
FROM generate_series(1, :number) AS n;

-- name: lease_for(builder, builds)
SELECT build_id FROM lease_batch(:builder, 1e9, :builds, '4 hours');

-- name: give_all_back()!
WITH given_back AS (
    UPDATE queue SET lease_id = NULL, builder_id = NULL, expires_at = NULL WHERE lease_id IS NOT NULL RETURNING build_id
)
UPDATE build SET state = 'pending', reason = 'bench' FROM given_back WHERE given_back.build_id = build.build_id;

-- name: what_next_as_fleets_before(builds)
-- What fleets before this one asked, each builder for itself: of everything there is, what was never tried, newest first.
SELECT release.release_id, target.target_id
FROM release
CROSS JOIN target
WHERE EXISTS (SELECT FROM upstream_file WHERE upstream_file.release_id = release.release_id AND kind = 'sdist')
  AND NOT EXISTS (
      SELECT FROM build JOIN attempt USING (build_id)
      WHERE build.release_id = release.release_id AND build.target_id = target.target_id)
ORDER BY release.newest_first, release.release_id
LIMIT :builds;

-- name: want_again(builds, after)$
-- So many finished builds are queued again, as after a new compiler; how many.
WITH chosen AS (
    SELECT build_id FROM build WHERE state IN ('published', 'failed') AND build_id > :after ORDER BY build_id LIMIT :builds
)
SELECT max(build_id) FROM chosen WHERE requeue_build(build_id, 'bench', 2);

-- name: sizes()
-- Bytes of what results go through, each table and index, with the dead rows of each table.
SELECT relation.relname, pg_relation_size(relation.oid), coalesce(pg_stat_get_dead_tuples(relation.oid), 0)
FROM pg_class AS relation
LEFT JOIN pg_index ON indexrelid = relation.oid
WHERE coalesce(indrelid, relation.oid) IN ('queue'::regclass, 'build'::regclass, 'statistic_change'::regclass)
ORDER BY coalesce(indrelid, relation.oid)::regclass::text, relation.relkind DESC, relation.relname;

-- name: explain_inner_statements()#
-- Tell the plan of every statement inside functions, with what it read, as a notice.
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_analyze = on;
SET auto_explain.log_timing = off;
SET auto_explain.log_nested_statements = on;
SET auto_explain.log_triggers = on;
SET auto_explain.log_format = 'json';
SET auto_explain.log_level = 'notice';

-- name: be_the_bench_builder()#
SET SESSION AUTHORIZATION builder_bench;

-- name: heartbeat(leases)$
SELECT heartbeat(:leases::uuid[], '{}', '4 hours');

-- name: expire()!
-- As four hours would.
UPDATE queue SET expires_at = now() - interval '1 second' WHERE lease_id IS NOT NULL;

-- name: reclaim()$
-- As if the database had been up for long.
SELECT reclaim_leases('0 seconds');

-- name: release(lease_id)$
SELECT release_lease(:lease_id, 'bench');

-- name: wake_orphans()$
SELECT wake_orphans();

-- name: end_delays()$
SELECT end_delays();

-- name: pause_some(builds, until)!
-- Builds at the head of the queue are to be tried again later, as after an hour without network.
UPDATE queue SET not_before = now() + :until::interval
WHERE build_id IN (SELECT build_id FROM queue WHERE lease_id IS NULL ORDER BY priority, estimate_seconds DESC LIMIT :builds);

-- name: some_failure()$
SELECT build_id FROM build WHERE state = 'failed' LIMIT 1;

-- name: lack_a_header()!
-- Five that failed for one reason.
UPDATE attempt SET outcome = 'missing_header', missing = 'bench.h'
WHERE attempt_id IN (SELECT attempt_id FROM attempt JOIN build USING (build_id) WHERE build.state = 'failed' LIMIT 5);

-- name: requeue(build_id)$
SELECT requeue_build(:build_id, 'bench');

-- name: demand()$
SELECT note_demand((SELECT name FROM project WHERE project_id = 7), '', 1);

-- name: some_releases()$
SELECT array_agg(release_id) FROM (SELECT release_id FROM release LIMIT 10) AS few;

-- name: new_target()$
INSERT INTO target (python, architecture, os_release, abi_order) VALUES ('cp314', 'armv7l', 'bookworm', 628) RETURNING target_id;

-- name: want(releases, target)
SELECT want_builds(:releases::bigint[], array_fill(:target::smallint, ARRAY[10]), array_fill(1::smallint, ARRAY[10]),
                   array_fill(60::real, ARRAY[10]), array_fill(1::smallint, ARRAY[10]));
