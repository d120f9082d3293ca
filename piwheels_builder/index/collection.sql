-- name: clock()$
-- The database's time, two minutes ago: what was recorded before is in what is collected from now on. A record takes up to a minute
-- (statement_timeout) and carries the time at which it began: one that is being made has to count as later.
SELECT now() - interval '2 minutes';

-- name: builders_known()
-- Where each builder is reached, and the host keys it was first met with.
SELECT name, address, host_keys FROM builder;

-- name: awaited(builders)
-- The files that wait in these builders' outboxes, by the builder's name: wheels to be published, and logs to be kept. None of a
-- builder that is not believed.
SELECT builder, lease_id || '-' || build_id AS directory, filename, size, sha256 FROM wheel_awaiting WHERE builder = ANY (:builders)
UNION ALL
SELECT builder, lease_id || '-' || build_id, 'log.gz', size, NULL FROM log_awaiting WHERE builder = ANY (:builders)
ORDER BY builder, directory;
