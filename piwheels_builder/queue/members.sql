-- name: target_id(python, architecture, os_release)$
-- A target's number, or nothing.
SELECT target_id FROM target WHERE python = :python AND architecture = :architecture AND os_release = :os_release;

-- name: make_target(python, architecture, os_release, abi_order)$
-- Make a target and return its number.
INSERT INTO target (python, architecture, os_release, abi_order) VALUES (:python, :architecture, :os_release, :abi_order)
RETURNING target_id;

-- name: register_builder(name, memory_class, slots, target_ids)$
-- Make a builder known, with its login role. True where that changed anything.
SELECT register_builder(:name, :memory_class, :slots, :target_ids::smallint[]);
