-- name: replica_role_exists()$
-- Whether replicas have a role to copy as.
SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'piwheels_replica');

-- name: make_replica_role()#
-- Replicas log in as it, by a certificate. It may copy the whole cluster, and is a member of nothing.
CREATE ROLE piwheels_replica LOGIN REPLICATION;

-- name: slots()
-- The places in the log that are kept for replicas, whether these are connected or not.
SELECT slot_name FROM pg_replication_slots WHERE slot_type = 'physical' AND starts_with(slot_name::text, 'replica_') ORDER BY slot_name;

-- name: end_copying(slot)
-- End the connection of a replica that holds its place.
SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE slot_name = :slot AND active;

-- name: drop_slot(slot)
-- Keep no log for a replica any longer.
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = :slot;

-- name: replicas()
-- How each replica stands.
SELECT name, state, behind_bytes, behind_seconds, kept_bytes, room_bytes FROM replicas() ORDER BY name;
