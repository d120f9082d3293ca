-- name: target_id(python, architecture, os_release)$
-- A target's number, or nothing.
SELECT target_id FROM target WHERE python = :python AND architecture = :architecture AND os_release = :os_release;

-- name: make_target(python, architecture, os_release, abi_order)$
-- Make a target and return its number. Builders are registered side by side: whoever comes second gets the first one's.
INSERT INTO target (python, architecture, os_release, abi_order, swept_to)
VALUES (:python, :architecture, :os_release, :abi_order, CASE WHEN EXISTS (SELECT FROM project) THEN 0 END)
ON CONFLICT (python, architecture, os_release) DO UPDATE SET abi_order = excluded.abi_order
RETURNING target_id;

-- name: register_builder(name, memory_class, slots, target_ids, certificate_serial, host_keys, address, slowness)$
-- Make a builder known, with its login role; null leaves what is known. True where that changed anything.
SELECT register_builder(
    :name, :memory_class, :slots, :target_ids::smallint[], :certificate_serial::numeric, :host_keys::text[], :address::text,
    :slowness::real);

-- name: retire_builder(name, reason)$
-- Take a builder out of the fleet. False where it was not in it.
SELECT retire_builder(:name, :reason);

-- name: told_of_builder(name)$
-- What the fleet's owner has said of a builder, or null.
SELECT told_of_builder(:name);
