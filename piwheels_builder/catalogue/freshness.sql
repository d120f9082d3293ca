-- name: upstream_state()^
-- What the last round over everything came to, with the database's clock; nothing before the first one.
SELECT url, whole, listing_etag, asked_at, followed_at, behind, held_back, projects, now() FROM upstream_state;

-- name: clock()$
-- The time, by the clock that all the other times here are of.
SELECT clock_timestamp();

-- name: note_round(url, whole, listing_etag, asked_at, behind, held_back, projects)!
-- What a round knows so far. Once nothing is behind, what upstream had when it was asked is followed.
INSERT INTO upstream_state AS state (url, whole, listing_etag, asked_at, followed_at, behind, held_back, projects)
VALUES (:url, :whole, :listing_etag, :asked_at::timestamptz, CASE WHEN :behind::integer = 0 THEN :asked_at::timestamptz END,
        :behind, :held_back, :projects)
ON CONFLICT (only_row) DO UPDATE
SET url = excluded.url, whole = excluded.whole, listing_etag = excluded.listing_etag, asked_at = excluded.asked_at,
    followed_at = coalesce(excluded.followed_at, state.followed_at), behind = excluded.behind, held_back = excluded.held_back,
    projects = excluded.projects
WHERE state.asked_at <= excluded.asked_at;

-- name: unfollowed(most)
-- Projects that could not be followed, longest first.
SELECT name, error, temporary, since FROM unfollowed_project ORDER BY since, name LIMIT :most;

-- name: count_unfollowed()$
-- How many there are.
SELECT count(*) FROM unfollowed_project;

-- name: pages_that_fail()
-- Projects that could not be followed: the serial that failed, whether it is time to try again, and whether the fault is upstream's and
-- not older than a day, which counts as being behind.
SELECT name, serial, try_again_at <= now() AS due, temporary AND since > now() - interval '1 day' AS behind FROM unfollowed_project;

-- name: note_unfollowed(name, serial, error, temporary)!
-- A project could not be followed: tried again after a minute, then four, sixteen and so on to a day.
INSERT INTO unfollowed_project AS known (name, serial, error, temporary, try_again_at)
VALUES (:name, :serial, :error, :temporary, now() + interval '1 minute')
ON CONFLICT (name) DO UPDATE
SET serial = excluded.serial, error = excluded.error, temporary = excluded.temporary, tries = known.tries + 1,
    try_again_at = now() + least(interval '1 minute' * 4 ^ least(known.tries, 6), interval '1 day');

-- name: note_followed(names)!
-- They could be followed after all.
DELETE FROM unfollowed_project WHERE name = ANY (:names);
