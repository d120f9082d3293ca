-- name: queued_work()
-- What is unfinished and not parked, for each target: builds, estimated seconds, the longest; slots of the builders that serve it. Reads the
-- whole queue, and never the history.
SELECT target.python || '-' || target.architecture || '-' || target.os_release AS target, work.builds, work.seconds, work.longest,
       coalesce(fleet.slots, 0)::integer AS slots
FROM (
    SELECT target_id, count(*) AS builds, sum(estimate_seconds)::float AS seconds, max(estimate_seconds)::float AS longest
    FROM queue WHERE held IS NULL GROUP BY target_id
) AS work
JOIN target USING (target_id)
LEFT JOIN (
    SELECT target_id, sum(slots) AS slots
    FROM builder_target JOIN builder USING (builder_id) WHERE standing = 'active' GROUP BY target_id
) AS fleet USING (target_id)
ORDER BY target;

-- name: fleet_size()^
-- Slots of all active builders, and how many those are.
SELECT coalesce(sum(slots), 0)::integer, count(*)::integer FROM builder WHERE standing = 'active';

-- name: estimates_met(most)
-- Of the latest attempts that ended by no fault of ours, and whose estimate is known: what was estimated and what it took, in seconds,
-- and whether there was a wheel.
SELECT estimate_seconds::float, seconds::float, blame = 'none'
FROM (SELECT outcome, seconds, estimate_seconds FROM attempt ORDER BY attempt_id DESC LIMIT :most) AS latest
JOIN outcome_meaning USING (outcome)
WHERE blame <> 'infrastructure' AND estimate_seconds > 0;

-- name: wheel_bytes(most)$
-- Mean size of the latest wheels, in bytes; null without any.
SELECT avg(size)::float FROM (SELECT size FROM wheel ORDER BY wheel_id DESC LIMIT :most) AS latest;
