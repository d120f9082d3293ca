-- name: identify_system()^
-- A command of the replication protocol: the number that a cluster and its copies have, its timeline, and how far its log is.
IDENTIFY_SYSTEM;

-- name: read_slot(slot)^
-- Also one: which kind of slot there is, and from where on the log is kept for it; nothing where there is none.
READ_REPLICATION_SLOT :slot;

-- name: drop_slot(slot)!
-- Also one: keep no log for it.
DROP_REPLICATION_SLOT :slot;
