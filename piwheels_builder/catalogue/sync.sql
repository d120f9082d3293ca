-- name: known_pages(names)
-- What is known of these projects' pages, to ask only for changes.
SELECT name, serial, etag FROM project WHERE name = ANY (:names);

-- name: known_serials()
-- Every project that upstream had, with the serial that the rows say; half a second for 736,344.
SELECT name, serial FROM project WHERE status <> 'gone';

-- name: projects_with_something(names)
-- Those of these projects that still have files and are not gone.
SELECT name FROM project
WHERE name = ANY (:names::text[]) AND status <> 'gone' AND EXISTS (SELECT FROM upstream_file WHERE project_id = project.project_id)
ORDER BY name;

-- name: forced_projects()
-- Projects the operator wants whatever the policy lists.
SELECT DISTINCT project FROM operator_instruction WHERE instruction = 'force' ORDER BY project;

-- name: projects_in_queue()
-- Projects with builds that nobody has leased yet: a changed policy may want them no more.
SELECT DISTINCT project.name
FROM queue JOIN build USING (build_id) JOIN release USING (release_id) JOIN project USING (project_id)
WHERE queue.lease_id IS NULL
ORDER BY project.name;

-- name: add_project(name)!
-- Make a project known.
INSERT INTO project (name) SELECT :name WHERE NOT EXISTS (SELECT FROM project WHERE name = :name)
ON CONFLICT (name) DO NOTHING;

-- name: lock_project(name)$
-- One sync of a project at a time; let go with the transaction.
SELECT project_id FROM project WHERE name = :name FOR UPDATE;

-- name: known_hashes(name)
-- The sha256 of every file of a project by its name.
SELECT filename, sha256 FROM upstream_file JOIN project USING (project_id) WHERE name = :name;

-- name: known_releases(project_id)
-- Every release that upstream has or once had.
SELECT version, spelling FROM release WHERE project_id = :project_id;

-- name: write_releases(project_id, releases)!
-- Releases that are new, spelled otherwise or ranked otherwise.
INSERT INTO release (project_id, version, spelling, newest_first)
SELECT :project_id, offered.version, offered.spelling, offered.newest_first
FROM jsonb_to_recordset(:releases) AS offered (version text, spelling text, newest_first integer)
ON CONFLICT ON CONSTRAINT release_is_unique DO UPDATE
SET spelling = excluded.spelling, newest_first = excluded.newest_first
WHERE (release.spelling, release.newest_first) IS DISTINCT FROM (excluded.spelling, excluded.newest_first);

-- name: write_files(project_id, files)!
-- Files that are new, or of which upstream says something else than before. A refused file makes no release of its own.
INSERT INTO upstream_file (
    project_id, filename, release_id, kind, refusal, url, sha256, size, requires_python, yanked, yanked_reason, upload_time,
    metadata_sha256, provenance)
SELECT :project_id, offered.filename, release.release_id, offered.kind, offered.refusal, offered.url, offered.sha256, offered.size,
       offered.requires_python, offered.yanked, offered.yanked_reason, offered.upload_time, offered.metadata_sha256,
       offered.provenance
FROM jsonb_to_recordset(:files) AS offered (
    filename text, version text, kind file_kind, refusal text, url text, sha256 text, size bigint, requires_python text,
    yanked boolean, yanked_reason text, upload_time timestamptz, metadata_sha256 text, provenance text)
LEFT JOIN release ON release.project_id = :project_id AND release.version = offered.version
ON CONFLICT ON CONSTRAINT upstream_file_is_unique DO UPDATE
SET release_id = excluded.release_id, kind = excluded.kind, refusal = excluded.refusal, url = excluded.url, sha256 = excluded.sha256,
    size = excluded.size, requires_python = excluded.requires_python, yanked = excluded.yanked,
    yanked_reason = excluded.yanked_reason, upload_time = excluded.upload_time, metadata_sha256 = excluded.metadata_sha256,
    provenance = excluded.provenance
WHERE upstream_file.* IS DISTINCT FROM excluded.*;

-- name: remove_files(project_id, kept)!
-- Files that upstream has deleted.
DELETE FROM upstream_file WHERE project_id = :project_id AND filename <> ALL (:kept);

-- name: write_status(project_id, status, status_reason)!
-- The status that upstream gives the project (PEP 792), or ours: gone.
UPDATE project SET status = :status, status_reason = :status_reason
WHERE project_id = :project_id AND (status, status_reason) IS DISTINCT FROM (:status, :status_reason);

-- name: note_page(project_id, serial, etag, written)!
-- Which page the rows now say, and since when.
UPDATE project SET serial = :serial, etag = :etag, synced_at = now()
WHERE project_id = :project_id AND (:written OR synced_at IS NULL OR (serial, etag) IS DISTINCT FROM (:serial, :etag));

-- name: note_changed_page(project_id)!
-- Our own page of the project is to be written anew, where we have one.
SELECT page_changed(:project_id)
WHERE EXISTS (
    SELECT FROM release JOIN build USING (release_id) JOIN wheel USING (build_id)
    WHERE release.project_id = :project_id AND wheel.published_at IS NOT NULL);
