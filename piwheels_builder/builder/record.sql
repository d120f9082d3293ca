-- name: say_alive(held, begun, term_seconds, has_room)$
-- This builder lives, holds these leases, began these builds, and has room for more or not.
SELECT heartbeat(:held::uuid[], :begun::bigint[], make_interval(secs => :term_seconds), :has_room);

-- name: record_attempt(lease_id, build_id, outcome, started_at, seconds, peak_memory, error_line, log_tail, toolchain, wheel_filename, wheel_sha256, wheel_size, mechanism, missing)$
-- How one attempt ended. Answers 'recorded', 'already recorded' or 'lease lost'.
SELECT record_attempt(
    :lease_id::uuid, :build_id::bigint, :outcome::outcome, :started_at::timestamptz, :seconds::real, :peak_memory::bigint,
    :error_line::text, :log_tail::text, :toolchain::text,
    :wheel_filename::text, :wheel_sha256::text, :wheel_size::bigint,
    :mechanism::text, :missing::text);

-- name: settled(leases, builds)
-- Which of these recorded attempts nobody needs any more.
SELECT lease_id::text, build_id FROM settled(:leases::uuid[], :builds::bigint[]);
