-- name: publish_twin(wheel_id, filename, sha256, size)$
-- The twin of this wheel is in the tree: serve it.
SELECT publish_twin(:wheel_id, :filename, :sha256, :size);
