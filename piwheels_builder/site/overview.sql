-- name: builders()
-- Every builder of the fleet with its spool and what it builds for; its standing with the reason where it is not active; at the end, how
-- its machine fares.
SELECT name, standing::text, standing_reason, memory_class, slots, last_seen_at, extract(epoch FROM now() - last_seen_at)::float,
       spool_builds, spool_seconds::float, wheels_waiting, has_room,
       ARRAY(SELECT concat_ws('-', python, architecture, os_release)
             FROM builder_target JOIN target USING (target_id) JOIN builder USING (builder_id)
             WHERE builder.name = builder_load.name ORDER BY target_id),
       json_build_array(temperature, memory_free, memory_total, throttled, under_voltage, disk_free)
FROM builder_load ORDER BY name;

-- name: building()
-- What builders say they have begun: since how many seconds, and how long it was expected to take. Reads what is leased.
SELECT builder.name, project.name, release.spelling, concat_ws('-', target.python, target.architecture, target.os_release),
       extract(epoch FROM now() - build.changed_at)::float, queue.estimate_seconds::float
FROM queue
JOIN builder USING (builder_id)
JOIN build USING (build_id)
JOIN release USING (release_id)
JOIN project USING (project_id)
JOIN target ON target.target_id = build.target_id
WHERE queue.lease_id IS NOT NULL AND build.state = 'building'
ORDER BY builder.name, build.changed_at;

-- name: newest_wheels(private, most)
-- The projects whose wheels were published last, among those that were made last: of each its latest wheel.
SELECT * FROM (
    SELECT DISTINCT ON (project.name) project.name, release.spelling, latest.filename, latest.size, latest.published_at,
           concat_ws('-', target.python, target.architecture, target.os_release)
    FROM (SELECT * FROM wheel ORDER BY wheel_id DESC LIMIT 500) AS latest
    JOIN build USING (build_id)
    JOIN release USING (release_id)
    JOIN project USING (project_id)
    JOIN target USING (target_id)
    WHERE latest.published_at IS NOT NULL AND latest.withdrawn_at IS NULL AND project.name <> ALL (:private)
    ORDER BY project.name, latest.published_at DESC, latest.wheel_id DESC
) AS newest
ORDER BY published_at DESC, name
LIMIT :most;

-- name: attempts_by_hour(since)
-- How many attempts ended how on each builder, for each hour since this one began.
SELECT to_char(date_trunc('hour', recorded_at AT TIME ZONE 'UTC'), 'YYYY-MM-DD"T"HH24"Z"') AS hour, builder.name, blame::text, count(*)
FROM attempt JOIN builder USING (builder_id) JOIN outcome_meaning USING (outcome)
WHERE recorded_at >= :since::timestamptz
GROUP BY 1, 2, 3;

-- name: queue_shape()
-- What may be leased, divided as leasing orders it, with twenty-one points of the estimates from the longest to the shortest. Reads the
-- whole queue.
SELECT target.python || '-' || target.architecture || '-' || target.os_release, queue.priority, queue.memory_class, count(*),
       sum(estimate_seconds)::float,
       percentile_disc(ARRAY[1, .95, .9, .85, .8, .75, .7, .65, .6, .55, .5, .45, .4, .35, .3, .25, .2, .15, .1, .05, 0])
           WITHIN GROUP (ORDER BY estimate_seconds)::float[]
FROM queue JOIN target USING (target_id)
WHERE queue.lease_id IS NULL AND queue.held IS NULL AND queue.waits_for IS NULL
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3 DESC;

-- name: clock()$
-- The database's time.
SELECT now();
