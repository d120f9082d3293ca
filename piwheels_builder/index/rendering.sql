-- name: lock_projects(project_ids)^
-- One publication at a time per project, until unlock_projects or the end of the connection; in the order given. 0x7077 is the
-- number of this kind of lock.
SELECT count(pg_advisory_lock(28791, project_id)) FROM unnest(:project_ids::integer[]) AS project_id;

-- name: unlock_projects(project_ids)^
-- The next one may.
SELECT count(pg_advisory_unlock(28791, project_id)) FROM unnest(:project_ids::integer[]) AS project_id;

-- name: lock_listings()^
-- One writer of the listings at a time, until the transaction ends.
SELECT pg_advisory_xact_lock(28792, 0);

-- name: due_projects()
-- Projects whose pages no longer say what the database says.
SELECT project_id FROM page_due ORDER BY project_id;

-- name: make_pages_due(names)$
-- Every page is due.
SELECT make_pages_due(:names);

-- name: pages_come_or_go(project_ids)$
-- Some page of each is about to come to be, or to go.
SELECT pages_come_or_go(:project_ids);

-- name: pages_written(project_ids, changes)$
-- The pages on disk say what the database said at these changes.
SELECT pages_written(:project_ids, :changes::bigint[]);

-- name: listing_changes(urgently)$
-- What listings_written wants to hear, if the listings are to be written now: pages came or went since, and a thousandth of a second
-- for every name passed, so that those of many names, which nobody installs from, are not written for every new project.
SELECT changes FROM listing
WHERE :urgently OR (changes > written AND now() >= written_at + greatest(0, names - 1000) * interval '1 millisecond');

-- name: listings_written(changes, names)$
-- The listings on disk know of these changes.
SELECT listings_written(:changes, :names);
