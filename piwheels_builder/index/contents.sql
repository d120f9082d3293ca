-- name: see_one_moment()#
-- What this transaction reads is the database at one moment, and of each table only what belongs to the projects asked for: for a
-- thousand of them the planner would rather hash all builds and wheels there are.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;
SET LOCAL enable_hashjoin = off;
SET LOCAL enable_mergejoin = off;

-- name: projects_on_pages(project_ids)
-- The projects themselves, and which change of each this moment holds (null where its page is not due).
SELECT project_id, project.name, project.status, project.status_reason, page_due.changes
FROM project LEFT JOIN page_due USING (project_id)
WHERE project_id = ANY (:project_ids)
ORDER BY project_id;

-- name: upstream_files_on_pages(project_ids)
-- What upstream offers of these projects.
SELECT upstream_file.project_id, filename, upstream_file.release_id, release.spelling, kind::text, url, sha256, size, requires_python,
       yanked, yanked_reason, upload_time, metadata_sha256, provenance
FROM upstream_file LEFT JOIN release USING (release_id)
WHERE upstream_file.project_id = ANY (:project_ids);

-- name: own_wheels_on_pages(project_ids)
-- The wheels of ours that are served, and the OS release each was built on.
SELECT release.project_id, wheel.filename, release.release_id, release.spelling, wheel.sha256, wheel.size, wheel.requires_python,
       wheel.metadata_sha256, wheel.glibc_floor, wheel.published_at, target.os_release, wheel.twin_of IS NOT NULL AS is_twin,
       wheel.import_result::text, wheel.libraries
FROM release
JOIN build USING (release_id)
JOIN target USING (target_id)
JOIN wheel USING (build_id)
WHERE release.project_id = ANY (:project_ids) AND wheel.published_at IS NOT NULL AND wheel.withdrawn_at IS NULL;

-- name: words_on_pages(project_ids)
-- What the operator said of these projects and of releases they have; what is said of one release first.
SELECT project.project_id, word::text, release_id, reason, given_at
FROM project
JOIN page_instruction ON page_instruction.project = project.name
LEFT JOIN release ON release.project_id = project.project_id AND release.version = page_instruction.version
WHERE project.project_id = ANY (:project_ids) AND (page_instruction.version = '' OR release_id IS NOT NULL)
ORDER BY project.project_id, page_instruction.version DESC;

-- name: targets()
-- Every target of the fleet.
SELECT target_id, python, architecture, os_release, wanted FROM target ORDER BY target_id;
