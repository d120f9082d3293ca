-- name: is_empty()$
-- Whether this database has no catalogue yet.
SELECT NOT EXISTS (SELECT FROM project);

-- name: add_targets(pythons, architecture, os_release)!
-- What the fleet builds for, the oldest Python first.
INSERT INTO target (python, architecture, os_release, abi_order)
SELECT python, :architecture, :os_release, 600 + 2 * substr(python, 4)::integer
FROM unnest(:pythons::text[]) WITH ORDINALITY AS line (python, place) ORDER BY place;

-- name: add_builders(builders)!
-- pi1, pi2 and so on, of every target: a third of each memory class, four slots. The first is numbered 1.
SELECT register_builder('pi' || number, mod(number, 3), 4, (SELECT array_agg(target_id) FROM target)) FROM generate_series(1, :builders) AS number;

-- name: set_aside(tables)!
-- Remember the keys and indexes of the tables, in the order in which they are to be made again: loading is several times faster without.
CREATE TABLE set_aside AS
SELECT CASE contype WHEN 'f' THEN 3 ELSE 1 END AS turn, conrelid::regclass::text AS of_table, conname AS name,
       'ALTER TABLE ' || conrelid::regclass || ' ADD CONSTRAINT ' || quote_ident(conname) || ' ' || pg_get_constraintdef(oid) AS definition
FROM pg_constraint
WHERE contype IN ('p', 'u', 'f')
  AND (conrelid = ANY (:tables::regclass[]) OR contype = 'f' AND confrelid = ANY (:tables::regclass[]))
UNION ALL
SELECT 2, indrelid::regclass::text, indexrelid::regclass::text::name, pg_get_indexdef(indexrelid)
FROM pg_index
WHERE indrelid = ANY (:tables::regclass[]) AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u'));

-- name: drop_what_is_set_aside()#
-- Foreign keys first, since the others are what they refer to.
DO $$
DECLARE
    it record;
BEGIN
    FOR it IN SELECT * FROM set_aside ORDER BY turn DESC LOOP
        IF it.turn = 2 THEN
            EXECUTE format('DROP INDEX %I', it.name);
        ELSE
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', it.of_table, it.name);
        END IF;
    END LOOP;
END $$;

-- name: what_is_set_aside()
-- The statements that make the keys and indexes again, in order.
SELECT of_table, name, definition FROM set_aside ORDER BY turn, of_table, name;

-- name: forget_what_was_set_aside()#
-- All of it is there again.
DROP TABLE set_aside;

-- name: load_fast()#
-- What is lost with a power cut is loaded again; an index of 25 million rows sorts in memory.
SET synchronous_commit = off;
SET maintenance_work_mem = '512MB';

-- name: stop_counting(tables)!
-- Statistics are counted in one go at the end: a trigger that looks rows up while there is no index reads whole tables.
DO $$
BEGIN
    EXECUTE (SELECT string_agg('ALTER TABLE ' || quote_ident(name) || ' DISABLE TRIGGER USER', ';') FROM unnest(:tables::text[]) AS name);
END $$;

-- name: count_again(tables)!
-- What stop_counting left out, and from now on as each row comes.
DO $$
BEGIN
    EXECUTE (SELECT string_agg('ALTER TABLE ' || quote_ident(name) || ' ENABLE TRIGGER USER', ';') FROM unnest(:tables::text[]) AS name);
    PERFORM recount_statistics();
END $$;

-- name: copy_project()#
COPY project (project_id, name, serial, etag, synced_at) FROM STDIN

-- name: copy_release()#
COPY release (release_id, project_id, version, spelling, newest_first) FROM STDIN

-- name: copy_upstream_file()#
COPY upstream_file (project_id, filename, release_id, kind, refusal, url, sha256, size, requires_python, yanked, yanked_reason, upload_time, metadata_sha256) FROM STDIN

-- name: copy_build()#
COPY build (build_id, release_id, target_id, state, reason, changed_at) FROM STDIN

-- name: copy_attempt()#
COPY attempt (attempt_id, build_id, project_id, lease_id, builder_id, memory_class, outcome, started_at, seconds, peak_memory, error_line, toolchain, missing, recorded_at, log_size, log_stored_at) FROM STDIN

-- name: copy_wheel()#
COPY wheel (wheel_id, build_id, attempt_id, filename, sha256, size, requires_python, metadata_sha256, published_at) FROM STDIN

-- name: copy_queue()#
COPY queue (build_id, target_id, memory_class, priority, estimate_seconds, waits_for) FROM STDIN

-- name: set_sequences()#
-- What the fleet adds from now on is numbered after what was loaded.
SELECT setval(pg_get_serial_sequence('project', 'project_id'), max(project_id)) FROM project;
SELECT setval(pg_get_serial_sequence('release', 'release_id'), max(release_id)) FROM release;
SELECT setval(pg_get_serial_sequence('build', 'build_id'), max(build_id)) FROM build;
SELECT setval(pg_get_serial_sequence('attempt', 'attempt_id'), max(attempt_id)) FROM attempt;
SELECT setval(pg_get_serial_sequence('wheel', 'wheel_id'), max(wheel_id)) FROM wheel;

-- name: note_swept()!
-- For every target the whole catalogue was looked through.
UPDATE target SET swept_to = NULL;

-- name: vacuum()#
-- Statistics, and nothing left for autovacuum to do while somebody measures. Before there are indexes, it reads each table once.
VACUUM (ANALYZE);

-- name: table_bytes()
-- Rows, and bytes of the rows, of values kept apart (TOAST) and of the indexes, of every table that the loading filled.
SELECT relname, reltuples::bigint,
       pg_relation_size(oid), pg_table_size(oid) - pg_relation_size(oid), pg_indexes_size(oid)
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND reltuples > 0 AND pg_total_relation_size(oid) > 100000
ORDER BY pg_total_relation_size(oid) DESC;

-- name: index_bytes()
-- Bytes of every index, the largest first.
SELECT indexrelid::regclass::text, pg_relation_size(indexrelid) FROM pg_index
WHERE indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace) AND pg_relation_size(indexrelid) > 100000
ORDER BY 2 DESC;

-- name: column_bytes(of_table)
-- Bytes of each column in an average row, by what ANALYZE found: its width where it is not null.
SELECT attname::text, avg_width * (1 - null_frac) FROM pg_stats WHERE schemaname = 'public' AND tablename = :of_table ORDER BY 2 DESC;

-- name: hasten_server()#
-- For the length of a load: the database can be made again.
ALTER SYSTEM SET fsync = off;
ALTER SYSTEM SET full_page_writes = off;
ALTER SYSTEM SET autovacuum = off;
ALTER SYSTEM SET max_wal_size = '4GB';
ALTER SYSTEM SET checkpoint_timeout = '30min';

-- name: calm_server()#
-- As a fleet's own is.
ALTER SYSTEM RESET fsync;
ALTER SYSTEM RESET full_page_writes;
ALTER SYSTEM RESET autovacuum;
ALTER SYSTEM RESET max_wal_size;
ALTER SYSTEM RESET checkpoint_timeout;

-- name: reload_settings()$
-- The settings above hold from now on.
SELECT pg_reload_conf();

-- name: checkpoint()#
-- What loading left to be written is not a benchmark's cost.
CHECKPOINT;
