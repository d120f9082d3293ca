-- name: look(prefix)^
-- This database's time, and the names of the fleet's Pis that were delivered and not cancelled.
SELECT now()::text AS time, coalesce(array_agg(name ORDER BY name), '{}') AS names
FROM hosted_pi WHERE starts_with(name, :prefix) AND delivered_at IS NOT NULL AND cancelled_at IS NULL;

-- name: compare(prefix, account, listed_at)$
-- Write down what the account says.
SELECT compare_hosted_pis(:prefix, :account::jsonb, :listed_at::timestamptz);

-- name: plan(prefix, wanted, specification, account, listed_at, builders)
-- Write down who is missing; who is to be ordered or waited for.
SELECT name, specification, seen
FROM plan_hosted_pis(:prefix, :wanted, :specification::jsonb, :account::jsonb, :listed_at::timestamptz, :builders::text[]);

-- name: choose_leaving(prefix, keep, account, listed_at)
-- Write down who leaves; who is to be cancelled, and whether it has to be retired first.
SELECT name, builds FROM choose_leaving_hosted_pis(:prefix, :keep, :account::jsonb, :listed_at::timestamptz);

-- name: settle(name, failure)$
-- What came of an order; no failure: delivered.
SELECT settle_hosted_pi(:name, :failure);

-- name: note_cancelled(names)!
-- These have left the account, or never will be in it.
UPDATE hosted_pi SET cancelled_at = now() WHERE name = ANY (:names) AND cancelled_at IS NULL;

-- name: minutes_since_order(prefix)
-- How long ago each Pi was written down as ordered.
SELECT name, round(extract(epoch FROM now() - ordered_at) / 60, 1)::float FROM hosted_pi WHERE starts_with(name, :prefix);

-- name: count_power_cycle(name)$
-- A Pi is about to be power-cycled.
SELECT count_power_cycle(:name);

-- name: mind_silent(prefix, minutes, most)
-- Who is to be power-cycled for silence now, and who is quarantined for it.
SELECT name, quarantined FROM mind_silent_hosted_pis(:prefix, make_interval(mins => :minutes), :most);

-- name: told(prefix, account)
-- Everything about each Pi that is not done with.
SELECT name, specification, since, minutes, is_delivered, cancel_wanted, is_cancelled, failure, power_cycles, standing,
       standing_reason, silence, leased, attempts
FROM told_hosted_pis(:prefix, :account::jsonb);
