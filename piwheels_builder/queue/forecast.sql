-- name: queued_work()
-- What is unfinished and not parked, for each target: builds, estimated seconds, those of the longest on the fastest builder that serves
-- it; slots of these builders, and the seconds of a Pi 4 that they do in one. Reads the whole queue, and never the history.
SELECT target.python || '-' || target.architecture || '-' || target.os_release AS target, work.builds, work.seconds,
       work.longest * coalesce(fleet.slowness, 1)::float AS longest,
       coalesce(fleet.slots, 0)::integer AS slots, coalesce(fleet.speed, 0)::float AS speed
FROM (
    SELECT target_id, count(*) AS builds, sum(estimate_seconds)::float AS seconds, max(estimate_seconds)::float AS longest
    FROM queue WHERE held IS NULL GROUP BY target_id
) AS work
JOIN target USING (target_id)
LEFT JOIN (
    SELECT target_id, sum(slots) AS slots, sum(slots / slowness) AS speed, min(slowness) AS slowness
    FROM builder_target JOIN builder USING (builder_id) WHERE standing = 'active' GROUP BY target_id
) AS fleet USING (target_id)
ORDER BY target;

-- name: fleet_size()^
-- Slots of all active builders, the seconds of a Pi 4 that these do in one, and how many builders those are.
SELECT coalesce(sum(slots), 0)::integer, coalesce(sum(slots / slowness), 0)::float, count(*)::integer FROM builder WHERE standing = 'active';

-- name: estimates_met(most)
-- Of the latest attempts that ended by no fault of ours, and whose estimate is known: what was estimated and what it took, in seconds of
-- a Pi 4, and whether there was a wheel.
SELECT estimate_seconds::float, seconds::float, blame = 'none'
FROM (
    SELECT outcome, seconds / slowness AS seconds, estimate_seconds
    FROM attempt JOIN builder USING (builder_id) ORDER BY attempt_id DESC LIMIT :most
) AS latest
JOIN outcome_meaning USING (outcome)
WHERE blame <> 'infrastructure' AND estimate_seconds > 0;

-- name: wheel_bytes(most)$
-- Mean size of the latest wheels, in bytes; null without any.
SELECT avg(size)::float FROM (SELECT size FROM wheel ORDER BY wheel_id DESC LIMIT :most) AS latest;
