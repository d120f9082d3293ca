-- name: awaiting_logs(builders)
-- The logs of these builders that wait to be kept, oldest first.
SELECT attempt_id, project, builder, lease_id || '-' || build_id AS directory, size, recorded_at
FROM log_awaiting WHERE builder = ANY (:builders) ORDER BY attempt_id;

-- name: log_stored(attempt_id, filename)$
-- The log is in the tree under this name, or (null) lost.
SELECT log_stored(:attempt_id, :filename);
