-- name: due_targets()
-- Targets for which the catalogue has not been looked through since somebody builds for them, each with the last project that has.
SELECT target_id, swept_to FROM target WHERE wanted AND swept_to IS NOT NULL ORDER BY target_id;

-- name: sweep_again()!
-- Look through the whole catalogue again for every target: what the fleet wants has changed.
UPDATE target SET swept_to = 0 WHERE wanted;

-- name: projects_left(after)$
-- About how many projects are still to be looked at: exact as long as none was ever deleted, which none is.
SELECT count(*) FROM project WHERE project_id > :after;

-- name: lock_chunk(after, most)
-- The next projects. A sync of one waits until we are done with it, and we with one that is being synced; their publication does not.
SELECT project.project_id, project.name, project.status, project.status_reason, opt_out.reason AS opted_out
FROM (
    SELECT * FROM project WHERE project_id > :after ORDER BY project_id LIMIT :most FOR NO KEY UPDATE
) AS project
LEFT JOIN opt_out ON opt_out.project = project.name
ORDER BY project.project_id;

-- name: chunk_releases(projects)
-- Their releases, newest first, each with the operator's word on it.
SELECT release.project_id, release.release_id, release.version, release.spelling, release.newest_first,
       coalesce(own.instruction, whole.instruction)::text AS instruction, coalesce(own.reason, whole.reason) AS why
FROM release
JOIN project USING (project_id)
LEFT JOIN operator_instruction AS own ON own.project = project.name AND own.version = release.version
LEFT JOIN operator_instruction AS whole ON whole.project = project.name AND whole.version = ''
WHERE project_id = ANY (:projects)
ORDER BY release.project_id, release.newest_first, release.release_id;

-- name: chunk_files(projects)
-- Their files that belong to a release, in the order in which lease_batch chooses among sdists.
SELECT release_id, filename, kind::text, refusal, requires_python, yanked, size
FROM upstream_file
WHERE project_id = ANY (:projects) AND release_id IS NOT NULL
ORDER BY release_id, yanked, right(filename, 7) = '.tar.gz' DESC, filename;

-- name: chunk_builds(projects)
-- Their builds, each with the wheel that is served. Needs do not look at attempts.
SELECT release.project_id, build.build_id, build.release_id, build.target_id,
       concat_ws('-', target.python, target.architecture, target.os_release), build.state::text, build.reason,
       NULL AS outcome, NULL AS error_line, wheel.filename AS wheel, wheel.filename IS NOT NULL AS published
FROM release
JOIN build USING (release_id)
JOIN target USING (target_id)
LEFT JOIN LATERAL (
    SELECT filename FROM wheel
    WHERE build.state = 'published' AND wheel.build_id = build.build_id AND published_at IS NOT NULL AND withdrawn_at IS NULL
      AND twin_of IS NULL
    ORDER BY wheel_id DESC LIMIT 1
) AS wheel ON true
WHERE release.project_id = ANY (:projects);

-- name: want_builds(releases, targets, priorities, guesses, leader_targets)
-- Put builds into the queue; those that were not there.
SELECT release_id, target_id FROM want_builds(
    :releases::bigint[], :targets::smallint[], :priorities::smallint[], :guesses::real[], :leader_targets::smallint[]);

-- name: note_swept(targets, swept_to)!
-- The catalogue is looked through for these targets as far as this project; null is all of it.
UPDATE target SET swept_to = :swept_to WHERE target_id = ANY (:targets);
