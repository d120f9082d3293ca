-- name: want_build(release_id, target_id, priority, guess_seconds, leader)$
-- Put a build into the queue; null where it is there or finished already.
SELECT want_build(:release_id, :target_id::smallint, :priority, :guess_seconds::real, :leader);

-- name: skip_build(build_id, reason)$
-- Take a build that nobody has leased out of the queue; false where somebody has.
SELECT skip_build(:build_id, :reason);
