-- name: incidents(days)
-- What builders did in the last days that an operator should know of, the latest last.
SELECT builder.name AS builder, to_char(last_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"') AS last_at, times, what
FROM incident JOIN builder USING (builder_id)
WHERE last_at > now() - make_interval(days => :days)
ORDER BY incident.last_at, incident_id;

-- name: distrust_builder(builder, since, reason, withdraw)
-- Believe nothing that a builder said since a moment; what is queued again, and what is published or withdrawn.
SELECT became, project, version, target, wheel FROM distrust_builder(:builder, :since, :reason, :withdraw);
