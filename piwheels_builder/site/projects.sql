-- name: project_facts(project_ids)
-- The projects, and whether their maintainers want no builds of them.
SELECT project_id, project.name, project.status, project.status_reason, opt_out.reason AS opted_out
FROM project LEFT JOIN opt_out ON opt_out.project = project.name
WHERE project_id = ANY (:project_ids)
ORDER BY project_id;

-- name: release_facts(project_ids)
-- Their releases, newest first, each with the operator's word on it; a word on the release itself beats one on its project.
SELECT release.project_id, release.release_id, release.version, release.spelling, release.newest_first,
       coalesce(own.instruction, whole.instruction)::text AS instruction, coalesce(own.reason, whole.reason) AS why
FROM release
JOIN project USING (project_id)
LEFT JOIN operator_instruction AS own ON own.project = project.name AND own.version = release.version
LEFT JOIN operator_instruction AS whole ON whole.project = project.name AND whole.version = ''
WHERE project_id = ANY (:project_ids)
ORDER BY release.project_id, release.newest_first, release.release_id;

-- name: file_facts(project_ids)
-- Upstream's files that belong to a release, in the order in which lease_batch chooses among sdists.
SELECT release_id, filename, kind::text, refusal, requires_python, yanked, size, upload_time
FROM upstream_file
WHERE project_id = ANY (:project_ids) AND release_id IS NOT NULL
ORDER BY release_id, yanked, right(filename, 7) = '.tar.gz' DESC, filename;

-- name: build_facts(project_ids)
-- Their builds: the last attempt's words, the wheel that is served or waits to be, and the place in the queue where there is one.
SELECT release.project_id, build.build_id, build.release_id, build.target_id,
       concat_ws('-', target.python, target.architecture, target.os_release), build.state::text, build.reason,
       last.outcome::text, last.error_line, wheel.filename AS wheel, wheel.published_at IS NOT NULL AS published,
       CASE WHEN last.log_stored_at IS NOT NULL THEN last.attempt_id END AS logged,
       queue.memory_class, queue.priority, queue.estimate_seconds::float, queue.held,
       (SELECT concat_ws('-', python, architecture, os_release) FROM build AS ahead JOIN target USING (target_id)
        WHERE ahead.build_id = queue.waits_for) AS leader,
       CASE WHEN queue.not_before > now() THEN queue.not_before END AS not_before
FROM release
JOIN build USING (release_id)
JOIN target USING (target_id)
LEFT JOIN queue USING (build_id)
LEFT JOIN LATERAL (
    SELECT attempt_id, outcome, error_line, log_stored_at FROM attempt WHERE attempt.build_id = build.build_id ORDER BY attempt_id DESC LIMIT 1
) AS last ON true
LEFT JOIN LATERAL (
    SELECT filename, published_at FROM wheel
    WHERE wheel.build_id = build.build_id AND withdrawn_at IS NULL AND refused_reason IS NULL AND lost_at IS NULL AND twin_of IS NULL
    ORDER BY wheel_id DESC LIMIT 1
) AS wheel ON true
WHERE release.project_id = ANY (:project_ids);

-- name: wheel_facts(project_ids)
-- Every wheel of theirs that was published, withdrawn ones too, newest first.
SELECT release.project_id, release.spelling, concat_ws('-', target.python, target.architecture, target.os_release),
       wheel.filename, wheel.sha256, wheel.size, wheel.requires_python, wheel.glibc_floor, wheel.published_at, wheel.withdrawn_at,
       wheel.withdrawn_reason
FROM release
JOIN build USING (release_id)
JOIN target USING (target_id)
JOIN wheel USING (build_id)
WHERE release.project_id = ANY (:project_ids) AND wheel.published_at IS NOT NULL
ORDER BY release.newest_first, wheel.wheel_id DESC;

-- name: attempt_facts(project_ids)
-- Every attempt at building them, the latest first.
SELECT attempt.project_id, attempt.attempt_id, release.spelling, concat_ws('-', target.python, target.architecture, target.os_release),
       builder.name, attempt.outcome::text, attempt.started_at, attempt.seconds::float, attempt.estimate_seconds::float,
       attempt.peak_memory, attempt.error_line, attempt.missing, attempt.mechanism, attempt.toolchain,
       attempt.log_stored_at IS NOT NULL AS logged
FROM attempt
JOIN build USING (build_id)
JOIN release USING (release_id)
JOIN target USING (target_id)
JOIN builder USING (builder_id)
WHERE attempt.project_id = ANY (:project_ids)
ORDER BY attempt.attempt_id DESC;

-- name: wanted_targets()
-- What the fleet builds for, oldest OS release first.
SELECT target_id, python, architecture, os_release
FROM target JOIN os_release USING (os_release)
WHERE wanted
ORDER BY os_release.age, target.abi_order, target.architecture;

-- name: meanings()
-- What each outcome means, and whose fault it is.
SELECT outcome::text, blame::text, meaning FROM outcome_meaning;

-- name: attempted_since(mark)
-- Projects with an attempt after this one; those of the last two minutes again, since numbers are given before they are committed.
SELECT project_id, max(attempt_id) FROM (
    SELECT project_id, attempt_id FROM attempt WHERE attempt_id > :mark
    UNION ALL
    SELECT project_id, attempt_id FROM attempt WHERE recorded_at > now() - interval '2 minutes'
) AS news GROUP BY project_id;

-- name: projects_after(project_id, most)
-- The next projects in the order of their numbers.
SELECT project_id FROM project WHERE project_id > :project_id ORDER BY project_id LIMIT :most;

-- name: project_names()
-- Every project of the catalogue.
SELECT name FROM project;

-- name: projects_named(names)
-- The numbers of projects.
SELECT name, project_id FROM project WHERE name = ANY (:names);

-- name: count_projects()$
-- About how many projects there are, for a progress bar: from the counts that are kept.
SELECT coalesce(sum(number), 0)::bigint FROM statistics WHERE what = 'project';

-- name: due()
-- Projects whose pages in the index no longer say what the database says.
SELECT project_id FROM page_due;
