-- name: install_virtual_time()#
-- From here on now() in every function of the fleet, and in every default, is what the simulation says it is. A name is looked for along
-- search_path, and ours goes before pg_catalog: no word of the functions is changed.
CREATE SCHEMA simulated;
GRANT USAGE ON SCHEMA simulated TO PUBLIC;
CREATE FUNCTION simulated.now() RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT current_setting('simulated.now')::timestamptz $$;
DO $$
DECLARE
    name text;
    col record;
BEGIN
    FOR name IN SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proconfig IS NOT NULL LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = simulated, public, pg_catalog, pg_temp', name);
    END LOOP;
    FOR col IN
        SELECT adrelid::regclass AS tab, attname FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
        JOIN pg_class ON pg_class.oid = adrelid
        WHERE relnamespace = 'public'::regnamespace AND pg_get_expr(adbin, adrelid) = 'now()'
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT simulated.now()', col.tab, col.attname);
    END LOOP;
END $$;

-- name: begin_of_time()$
-- A moment long after the database's start by its real clock, as ISO 8601: reclaiming waits for one term after a start.
SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC' + interval '2 days', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');

-- name: set_time(now)$
-- The time it is from here on, on this connection.
SELECT set_config('simulated.now', :now, false);

-- name: own_search_path()$
-- What this connection asks sees virtual time too.
SELECT set_config('search_path', 'simulated, public, pg_catalog', false);

-- name: analyze()#
VACUUM ANALYZE;

-- name: be(login)$
-- Act as this builder's session from here on.
SELECT set_config('session_authorization', :login, false);

-- name: be_oneself()#
-- Act as whoever connected.
RESET SESSION AUTHORIZATION;

-- name: record(results)
-- What record_attempt answers to each result.
SELECT result.build_id,
       record_attempt(result.lease_id, result.build_id, result.outcome::outcome, result.started_at, result.seconds, result.peak, NULL,
                      NULL, 'simulated', NULL, NULL, NULL)
FROM jsonb_to_recordset(:results) AS result (
    lease_id uuid, build_id bigint, outcome text, started_at timestamptz, seconds real, peak bigint);

-- name: end_builds(results)
-- What record_attempt does of results that end a build, for many at once and with publication taken for immediate; the builds that it
-- counted for, each while its row carries that lease id.
WITH result AS (
    SELECT * FROM jsonb_to_recordset(:results) AS result (
        lease_id uuid, build_id bigint, outcome text, started_at timestamptz, seconds real, peak bigint)
), ended AS (
    DELETE FROM queue USING result
    WHERE queue.build_id = result.build_id AND queue.lease_id = result.lease_id
    RETURNING result.*, queue.memory_class, queue.builder_id, queue.estimate_seconds
), told AS (
    INSERT INTO attempt (build_id, project_id, lease_id, builder_id, memory_class, outcome, started_at, seconds, peak_memory,
                         estimate_seconds)
    SELECT build_id, project_id, lease_id, builder_id, memory_class, outcome::outcome, started_at, seconds, peak, estimate_seconds
    FROM ended JOIN build USING (build_id) JOIN release USING (release_id)
)
UPDATE build SET state = (CASE ended.outcome WHEN 'built' THEN 'built' ELSE 'failed' END)::build_state, reason = 'simulated'
FROM ended WHERE ended.build_id = build.build_id
RETURNING build.build_id;

-- name: heartbeat(leases)$
-- The builder lives, and holds these leases for another term.
SELECT heartbeat(:leases::uuid[], '{}', '4 hours');

-- name: unfinished()^
-- What is left in the queue, and how much of that is parked.
SELECT count(*), count(*) FILTER (WHERE held IS NOT NULL) FROM queue;

-- name: leasable_classes()
-- The memory classes of which something could be leased now: each looked up at the head of the queue's index. In its order, since
-- EXISTS alone is answered by reading the whole queue for a class of which there is nothing.
SELECT class
FROM generate_series(0, 2) AS class
CROSS JOIN LATERAL (
    SELECT build_id FROM queue
    WHERE target_id = 1 AND memory_class = class AND lease_id IS NULL AND waits_for IS NULL AND held IS NULL AND not_before = '-infinity'
    ORDER BY priority, estimate_seconds DESC, build_id
    LIMIT 1
) AS head;

-- name: next_change()^
-- In how many seconds time alone makes something leasable, by the end of a pause or of a lease.
SELECT extract(epoch FROM least((SELECT min(not_before) FROM queue WHERE not_before > '-infinity'),
                                (SELECT min(expires_at) FROM queue WHERE lease_id IS NOT NULL)) - now())::float;

-- name: measure_no_disk()#
-- What a simulation writes need not survive.
ALTER SYSTEM SET fsync = off;

-- name: reload_settings()$
-- Let them apply.
SELECT pg_reload_conf();
