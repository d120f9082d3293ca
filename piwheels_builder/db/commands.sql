-- name: host_keys()
-- How each builder is reached, and its ssh host keys as they were pinned.
SELECT name, address, host_keys FROM builder
WHERE address IS NOT NULL AND cardinality(host_keys) > 0 AND standing <> 'retired'
ORDER BY name;
