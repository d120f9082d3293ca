-- How each replica stands, by the place in the log that is kept for it. The owner, as whom it runs, sees others' sessions.
CREATE OR REPLACE FUNCTION replicas() RETURNS TABLE (
    name text, state text, behind_bytes bigint, behind_seconds double precision, kept_bytes bigint, room_bytes bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT slot_name::text,
           CASE WHEN wal_status = 'lost' THEN 'lost'
                WHEN NOT active THEN 'away'
                WHEN sender.state = 'streaming' THEN 'streaming'
                ELSE 'catching up' END,
           pg_wal_lsn_diff(pg_current_wal_lsn(), coalesce(sender.replay_lsn, restart_lsn))::bigint,
           extract(epoch FROM sender.replay_lag)::double precision,
           pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint,
           safe_wal_size
    FROM pg_replication_slots LEFT JOIN pg_stat_replication AS sender ON sender.pid = active_pid
    WHERE slot_type = 'physical' AND starts_with(slot_name::text, 'replica_')
$$;
