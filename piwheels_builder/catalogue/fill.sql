-- name: spoken_of(names)
-- Those of these projects of which the operator or a maintainer said something.
SELECT project FROM operator_instruction WHERE project = ANY (:names) UNION SELECT project FROM opt_out WHERE project = ANY (:names);

-- name: add_projects(names, serials, etags, statuses, reasons)
-- Make projects known with the page that they are filled from; those that are known already are not in the answer.
INSERT INTO project (name, serial, etag, status, status_reason, synced_at)
SELECT offered.*, now()
FROM unnest(:names::text[], :serials::bigint[], :etags::text[], :statuses::text[], :reasons::text[]) AS offered
ON CONFLICT (name) DO NOTHING
RETURNING name, project_id;

-- name: copy_releases()#
-- Releases of projects that had none.
COPY release (project_id, version, spelling, newest_first) FROM STDIN;

-- name: release_ids(projects)
-- The ids of all releases of these projects.
SELECT project_id, version, release_id FROM release WHERE project_id = ANY (:projects);

-- name: copy_files()#
-- Files of projects that had none.
COPY upstream_file (
    project_id, release_id, kind, refusal, filename, url, sha256, size, requires_python, yanked, yanked_reason, upload_time,
    metadata_sha256, provenance
) FROM STDIN;

-- name: want_first_builds(releases, targets, priorities, guesses, leaders)$
-- Put builds of new releases of new projects into the queue, five arrays of one length; leaders are targets. How many there are.
SELECT want_first_builds(:releases::bigint[], :targets::smallint[], :priorities::smallint[], :guesses::real[], :leaders::smallint[]);

-- name: let_commits_return_at_once()#
-- What a power cut takes from the end of a fill, the next one reads again.
SET SESSION synchronous_commit = off;
