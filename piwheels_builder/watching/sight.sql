-- name: sight()
-- Every builder with its spool, how its machine fares, and what it has begun: releases, targets, and since how many seconds. One query,
-- whatever the size of the fleet.
SELECT name, standing::text, standing_reason, slots, extract(epoch FROM now() - last_seen_at)::float, spool_builds,
       spool_seconds::float, wheels_waiting, has_room,
       json_build_array(temperature, memory_free, memory_total, throttled, under_voltage, disk_free), coalesce(begun.builds, '[]'::json)
FROM builder_load
LEFT JOIN (
    SELECT builder.name,
           json_agg(json_build_array(project.name, release.spelling, concat_ws('-', target.python, target.architecture, target.os_release),
                                     extract(epoch FROM now() - build.changed_at)) ORDER BY build.changed_at) AS builds
    FROM queue
    JOIN builder USING (builder_id)
    JOIN build USING (build_id)
    JOIN release USING (release_id)
    JOIN project USING (project_id)
    JOIN target ON target.target_id = build.target_id
    WHERE queue.lease_id IS NOT NULL AND build.state = 'building'
    GROUP BY builder.name
) AS begun USING (name)
ORDER BY name;
