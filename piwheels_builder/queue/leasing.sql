-- name: builder_loads(builders)
-- These builders (null: all) with what waits in spool and outbox, whether a faster one with a free slot
-- builds all that they can, and how their machines fare. Reads what is leased to them: a hundred thousand rows of a fleet with
-- full spools, and each of its builders asks every few seconds.
SELECT name, standing, slots, spool_seconds, spool_builds, wheels_waiting, has_room, standing_reason, logs_waiting, wheels_held, slowness,
       slowness > (SELECT min(slowness) FROM builder WHERE standing = 'active' AND has_room) AND EXISTS (
           SELECT FROM builder AS other
           WHERE other.standing = 'active' AND other.has_room AND other.last_seen_at > now() - interval '10 minutes'
             AND other.slowness < builder_load.slowness AND other.memory_class >= builder_load.memory_class
             AND other.slots > (
                 SELECT count(*) FROM (
                     SELECT FROM queue WHERE queue.builder_id = other.builder_id AND lease_id IS NOT NULL LIMIT other.slots) AS held)
             AND NOT EXISTS (
                 SELECT target_id FROM builder_target JOIN builder USING (builder_id) WHERE builder.name = builder_load.name
                 EXCEPT SELECT target_id FROM builder_target WHERE builder_target.builder_id = other.builder_id)),
       json_build_array(temperature, memory_free, memory_total, throttled, under_voltage, disk_free)
FROM builder_load WHERE :builders::text[] IS NULL OR name = ANY (:builders::text[]) ORDER BY name;

-- name: served_fleet()^
-- Of all builders that may be given work: slots, and seconds of a Pi 4 that they do in a second.
SELECT coalesce(sum(slots), 0)::integer, coalesce(sum(slots / slowness), 0)::float FROM builder WHERE standing = 'active' AND has_room;

-- name: members()
-- Every builder of the fleet, without what it holds.
SELECT name, standing, standing_reason FROM builder WHERE standing <> 'retired' ORDER BY name;

-- name: end_delays()$
-- Let builds whose pause is over be leased again.
SELECT end_delays();

-- name: leasable_seconds()$
-- Estimated work that could be leased now, from the counts: the queue may hold millions. What is queued for a target whose last builder
-- has left is nobody's work.
SELECT greatest(coalesce(sum(amount), 0) - (
           SELECT coalesce(sum(estimate_seconds), 0) FROM queue JOIN target USING (target_id)
           WHERE not_before > '-infinity' AND lease_id IS NULL AND waits_for IS NULL AND held IS NULL AND wanted), 0)
FROM statistics JOIN target USING (target_id)
WHERE what LIKE 'queue free %%' AND wanted;

-- name: lease_batch(builder, seconds, builds, term, longest, critical)
-- Lease one batch; no rows where nothing fits.
SELECT * FROM lease_batch(:builder, :seconds, :builds, :term, :longest::real, :critical::real);

-- name: urgent_seconds(builder)$
-- Estimated work that should not wait behind what fills this builder's spool: forced, demanded or fresh. Reads the head of the queue's
-- index once per target and memory class.
SELECT coalesce(sum(urgent.estimate_seconds), 0)::float
FROM builder
JOIN builder_target USING (builder_id)
CROSS JOIN LATERAL generate_series(0, builder.memory_class) AS class
CROSS JOIN LATERAL (
    SELECT estimate_seconds FROM queue
    WHERE queue.target_id = builder_target.target_id AND queue.memory_class = class AND priority <= 0
      AND lease_id IS NULL AND waits_for IS NULL AND held IS NULL AND not_before = '-infinity'
    LIMIT 500
) AS urgent
WHERE builder.name = :builder;

-- name: urgent_held(builder)$
-- Of that, what is leased to it already and has not ended.
SELECT coalesce(sum(queue.estimate_seconds), 0)::float
FROM queue JOIN builder USING (builder_id)
WHERE queue.lease_id IS NOT NULL AND queue.priority <= 0 AND builder.name = :builder;

-- name: urgent_builds(builds)
-- Which of these leased builds are urgent.
SELECT build_id FROM queue WHERE build_id = ANY (:builds) AND priority <= 0;

-- name: held_builds(builders)
-- What is leased to these builders, in the columns of lease_batch and in its order: to deliver again what a run that died
-- may not have delivered.
SELECT queue.lease_id, builder.name AS builder, queue.build_id, queue.estimate_seconds, queue.memory_class,
       project.name AS project, release.version, target.python, target.architecture, target.os_release,
       sdist.filename, sdist.url, sdist.sha256, sdist.size, sdist.upload_time
FROM queue
JOIN builder USING (builder_id)
JOIN build USING (build_id)
JOIN release ON release.release_id = build.release_id
JOIN project ON project.project_id = release.project_id
JOIN target ON target.target_id = build.target_id
CROSS JOIN LATERAL (
    SELECT * FROM upstream_file
    WHERE upstream_file.release_id = build.release_id AND kind = 'sdist'
    ORDER BY upstream_file.yanked, upstream_file.filename LIKE '%%.tar.gz' DESC, upstream_file.filename
    LIMIT 1
) AS sdist
WHERE queue.lease_id IS NOT NULL AND builder.name = ANY (:builders)
ORDER BY queue.lease_id, queue.priority, queue.memory_class DESC, queue.estimate_seconds DESC, queue.build_id;

-- name: could_have(builders)
-- Which of these active builders could be given something that nobody has. Reads the head of the queue's index once per target and memory
-- class.
SELECT name FROM builder
WHERE name = ANY (:builders) AND standing = 'active' AND EXISTS (
    SELECT FROM builder_target
    CROSS JOIN generate_series(0, builder.memory_class) AS class
    CROSS JOIN LATERAL (
        SELECT FROM queue
        WHERE queue.target_id = builder_target.target_id AND queue.memory_class = class
          AND lease_id IS NULL AND waits_for IS NULL AND held IS NULL AND not_before = '-infinity'
        LIMIT 1) AS free
    WHERE builder_target.builder_id = builder.builder_id);

-- name: release_lease(lease_id, reason)$
-- Give a lease back; the number of builds that are pending again.
SELECT release_lease(:lease_id, :reason);

-- name: reclaim_leases(term)$
-- Take expired leases back; the number of builds that are pending again.
SELECT reclaim_leases(:term);

-- name: learn_estimates(most)$
-- What attempts since the last call teach of builds that are left; how many are expected to take something else.
SELECT learn_estimates(:most);

-- name: wake_orphans()$
-- Start builds whose leader nobody can build; the number of leaders given up.
SELECT wake_orphans();

-- name: queue_totals()^
-- What is unfinished, by what holds it up: from the counts, since the queue may hold millions. too_large is what no active builder of its
-- target has the memory for, while another of them has one. What is queued for a target whose last builder has left counts again
-- when it has one; wheels of a quarantined builder are not on their way.
WITH active AS (
    SELECT target_id, wanted, max(builder.memory_class) FILTER (WHERE standing = 'active') AS largest
    FROM target LEFT JOIN builder_target USING (target_id) LEFT JOIN builder USING (builder_id)
    GROUP BY target_id
), counted AS (
    SELECT what, number, wanted, coalesce(substring(what FROM '^queue free (.*)')::smallint > largest, false) AS too_large
    FROM statistics JOIN active USING (target_id)
    WHERE what LIKE 'queue %%'
), delayed AS (
    SELECT count(*) AS number FROM queue JOIN active USING (target_id)
    WHERE not_before > '-infinity' AND not_before > now() AND lease_id IS NULL AND waits_for IS NULL AND held IS NULL
      AND wanted AND NOT coalesce(memory_class > largest, false)
)
SELECT coalesce(sum(counted.number) FILTER (WHERE what LIKE 'queue free %%' AND wanted AND NOT too_large), 0)::bigint
           - (SELECT number FROM delayed) AS leasable,
       coalesce(sum(counted.number) FILTER (WHERE what = 'queue leased'), 0)::bigint AS leased,
       coalesce(sum(counted.number) FILTER (WHERE what = 'queue waiting' AND wanted), 0)::bigint AS waiting,
       coalesce(sum(counted.number) FILTER (WHERE what = 'queue held' AND wanted), 0)::bigint AS held,
       (SELECT number FROM delayed) AS delayed,
       coalesce(sum(counted.number) FILTER (WHERE wanted AND too_large), 0)::bigint AS too_large,
       (SELECT count(*) FROM wheel_awaiting) AS unpublished
FROM counted;

-- name: statistics()
-- How many there are of what and how much that amounts to, for each target (null where it is of none).
SELECT what, target.python || '-' || target.architecture || '-' || target.os_release AS target, number, amount
FROM statistics LEFT JOIN target USING (target_id)
ORDER BY what, target_id;

-- name: trip_breaker()
-- Pause what has left its history; what was paused now (no name is everything), and why.
SELECT builder, reason FROM trip_breaker();

-- name: fleet_pause()
-- Why nothing is handed out to anybody, who said so, and since when; no row while it is.
SELECT reason, by_whom, to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"') AS since FROM dispatch_pause;

-- name: pause_dispatch(builder, reason)$
-- Hand out nothing more to a builder, or to anybody (null). False where that was so.
SELECT pause_dispatch(:builder, :reason);

-- name: resume_dispatch(builder)$
-- Hand out work again to a builder, which is believed again too, or to all (null). False where nothing was paused.
SELECT resume_dispatch(:builder);

-- name: clock()$
-- The database's time.
SELECT now();

-- name: tally(builders, since)
-- How many attempts of these builders built and failed since a moment.
SELECT builder.name, count(*) FILTER (WHERE blame = 'none'), count(*) FILTER (WHERE blame IN ('release', 'memory'))
FROM attempt
JOIN builder USING (builder_id)
JOIN outcome_meaning USING (outcome)
WHERE builder.name = ANY (:builders) AND attempt.recorded_at >= :since::timestamptz
GROUP BY builder.name;
