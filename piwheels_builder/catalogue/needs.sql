-- name: project_facts(name)^
-- A project, and whether its maintainer wants no builds of it.
SELECT project.project_id, project.name, project.status, project.status_reason, opt_out.reason AS opted_out
FROM project LEFT JOIN opt_out ON opt_out.project = project.name
WHERE project.name = :name;

-- name: release_facts(project_id)
-- Its releases, newest first, each with the operator's word on it; a word on the release itself beats one on its project.
SELECT release.release_id, release.version, release.spelling, release.newest_first,
       coalesce(own.instruction, whole.instruction)::text AS instruction, coalesce(own.reason, whole.reason) AS why
FROM release
JOIN project USING (project_id)
LEFT JOIN operator_instruction AS own ON own.project = project.name AND own.version = release.version
LEFT JOIN operator_instruction AS whole ON whole.project = project.name AND whole.version = ''
WHERE project_id = :project_id
ORDER BY release.newest_first, release.release_id;

-- name: file_facts(project_id)
-- Its files that belong to a release, in the order in which lease_batch chooses among sdists.
SELECT release_id, filename, kind::text, refusal, requires_python, yanked, size, upload_time
FROM upstream_file
WHERE project_id = :project_id AND release_id IS NOT NULL
ORDER BY yanked, right(filename, 7) = '.tar.gz' DESC, filename;

-- name: build_facts(project_id)
-- Its builds, each with the last attempt's words, its number where the index keeps its log, and the wheel that is served, or waits
-- to be.
SELECT build.build_id, build.release_id, build.target_id, concat_ws('-', target.python, target.architecture, target.os_release),
       build.state::text, build.reason,
       last.outcome::text, last.error_line, wheel.filename AS wheel, wheel.published_at IS NOT NULL AS published,
       CASE WHEN last.log_stored_at IS NOT NULL THEN last.attempt_id END AS logged,
       wheel.import_result::text, wheel.import_detail, wheel.libraries
FROM release
JOIN build USING (release_id)
JOIN target USING (target_id)
LEFT JOIN LATERAL (
    SELECT attempt_id, outcome, error_line, log_stored_at FROM attempt WHERE attempt.build_id = build.build_id ORDER BY attempt_id DESC LIMIT 1
) AS last ON true
LEFT JOIN LATERAL (
    SELECT filename, published_at, import_result, import_detail, libraries FROM wheel
    WHERE wheel.build_id = build.build_id AND withdrawn_at IS NULL AND refused_reason IS NULL AND lost_at IS NULL AND twin_of IS NULL
    ORDER BY wheel_id DESC LIMIT 1
) AS wheel ON true
WHERE release.project_id = :project_id;

-- name: wanted_targets()
-- What the fleet builds for, in the order in which a release's builds lead each other: oldest OS release first.
SELECT target_id, python, architecture, os_release
FROM target JOIN os_release USING (os_release)
WHERE wanted
ORDER BY os_release.age, target.abi_order, target.architecture;
