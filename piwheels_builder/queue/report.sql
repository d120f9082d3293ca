-- name: builds_of(projects)
-- The builds of some projects, each with its last attempt and its wheel: by project, newest release first.
SELECT project.name AS project, release.spelling AS version,
       target.python || '-' || target.architecture || '-' || target.os_release AS target,
       build.build_id, build.state::text, build.reason, last.outcome::text, last.seconds, last.error_line, made.filename AS wheel,
       made.import_result::text
FROM project
JOIN release USING (project_id)
JOIN build USING (release_id)
JOIN target USING (target_id)
JOIN os_release USING (os_release)
LEFT JOIN LATERAL (
    SELECT outcome, seconds, error_line FROM attempt WHERE attempt.build_id = build.build_id ORDER BY attempt_id DESC LIMIT 1
) AS last ON true
LEFT JOIN LATERAL (
    SELECT filename, import_result FROM wheel
    WHERE wheel.build_id = build.build_id AND published_at IS NOT NULL AND withdrawn_at IS NULL AND twin_of IS NULL
    ORDER BY wheel_id DESC LIMIT 1
) AS made ON true
WHERE project.name = ANY (:projects)
ORDER BY project.name, release.newest_first, os_release.age, target.abi_order, target.architecture;

-- name: requeue_build(build_id, reason)$
-- Build it again. False where it is unfinished already.
SELECT requeue_build(:build_id, :reason);
