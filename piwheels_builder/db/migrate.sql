-- name: lock_out_other_migrators(lock)^
-- One migrator at a time; let go with the transaction.
SELECT pg_advisory_xact_lock(:lock);

-- name: has_ledger()$
-- Whether any step ran here yet.
SELECT to_regclass('schema_step') IS NOT NULL;

-- name: make_ledger()#
-- What ran here, and with which text.
CREATE TABLE IF NOT EXISTS schema_step (
    name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());

-- name: let_functions_name_later_ones()#
-- A function may be defined before one that it calls.
SET LOCAL check_function_bodies = off;

-- name: applied_steps()
-- Every step that ran here.
SELECT name, sha256 FROM schema_step;

-- name: note_step(name, sha256)!
-- A step ran.
INSERT INTO schema_step (name, sha256) VALUES (:name, :sha256)
ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256, applied_at = now();
