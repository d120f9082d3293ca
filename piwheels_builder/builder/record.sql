-- name: say_alive(held, begun, term_seconds, has_room, session, temperature, memory_free, memory_total, disk_free, throttled, under_voltage)$
-- This builder lives, holds these leases, began these builds, has room for more or not, and started once for each session; the rest is
-- how its machine fares. Answers 'alive' or 'quarantined'.
SELECT heartbeat(
    :held::uuid[], :begun::bigint[], make_interval(secs => :term_seconds), :has_room, its_session => :session::uuid,
    its_temperature => :temperature::double precision, its_memory_free => :memory_free::bigint,
    its_memory_total => :memory_total::bigint, its_disk_free => :disk_free::bigint,
    is_throttled => :throttled::boolean, is_under_voltage => :under_voltage::boolean);

-- name: record_attempt(lease_id, build_id, outcome, started_at, seconds, peak_memory, error_line, log_tail, toolchain, wheel_filename, wheel_sha256, wheel_size, mechanism, missing, log_size, import_result, import_detail, libraries)$
-- How one attempt ended. Answers 'recorded', 'already recorded', 'lease lost' or 'refused'.
SELECT record_attempt(
    :lease_id::uuid, :build_id::bigint, :outcome::outcome, :started_at::timestamptz, :seconds::real, :peak_memory::bigint,
    :error_line::text, :log_tail::text, :toolchain::text,
    :wheel_filename::text, :wheel_sha256::text, :wheel_size::bigint,
    :mechanism::text, :missing::text, its_log_size => :log_size::bigint,
    its_import => :import_result::import_result, its_import_detail => :import_detail::text, its_libraries => :libraries::jsonb);

-- name: database_clock()$
-- What time it is there.
SELECT clock_timestamp();

-- name: settled(leases, builds)
-- Which of these recorded attempts nobody needs any more.
SELECT lease_id::text, build_id FROM settled(:leases::uuid[], :builds::bigint[]);
