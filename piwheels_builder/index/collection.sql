-- name: clock()$
-- The database's time: what was recorded before is in what is collected from now on.
SELECT now();

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
