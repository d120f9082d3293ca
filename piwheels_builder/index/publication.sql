-- name: awaiting(builders)
-- The wheels of these builders that wait to be published, project by project, oldest first.
SELECT awaiting.wheel_id, release.project_id, project.name, release.version, build.target_id, awaiting.filename, awaiting.sha256,
       awaiting.size, awaiting.builder, awaiting.lease_id || '-' || awaiting.build_id AS directory, awaiting.recorded_at
FROM wheel_awaiting AS awaiting
JOIN build USING (build_id)
JOIN release USING (release_id)
JOIN project ON project.project_id = release.project_id
WHERE awaiting.builder = ANY (:builders)
ORDER BY project.name, awaiting.wheel_id;

-- name: still_awaits(wheel_id)$
-- Whether nobody published, refused or lost it meanwhile, and its builder is believed still.
SELECT EXISTS (SELECT FROM wheel_awaiting WHERE wheel_id = :wheel_id);

-- name: suspect_builder(builder, what, quarantine)$
-- What was found out about a builder; with quarantine, nothing more of it is believed.
SELECT suspect_builder(:builder, :what, :quarantine);

-- name: quarantined(builders)
-- Those of these builders that are not believed, and why.
SELECT name, standing_reason FROM builder WHERE standing = 'quarantined' AND name = ANY (:builders) ORDER BY name;

-- name: published_as(filename)^
-- The wheel of ours that has this filename, with the reason it was withdrawn for, if it was.
SELECT sha256, withdrawn_reason FROM wheel WHERE filename = :filename AND published_at IS NOT NULL;

-- name: upstream_has_other(project_id, filename, sha256)$
-- Whether upstream uses this filename for bytes that are, or may be, others.
SELECT EXISTS (
    SELECT FROM upstream_file
    WHERE project_id = :project_id AND filename = :filename AND sha256 IS DISTINCT FROM :sha256);

-- name: publish_wheel(wheel_id, filename, sha256, size, requires_python, metadata_sha256, glibc_floor, served)$
-- The wheel is in the tree: serve it.
SELECT publish_wheel(:wheel_id, :filename, :sha256, :size, :requires_python, :metadata_sha256, :glibc_floor, :served::smallint[]);

-- name: note_libraries(wheel_id, names)$
-- Which libraries the wheel needs.
SELECT note_libraries(:wheel_id, :names::text[]);

-- name: adopt_wheel(wheel_id, filename)$
-- The same bytes are published already.
SELECT adopt_wheel(:wheel_id, :filename);

-- name: refuse_wheel(wheel_id, reason)$
-- The wheel is not what it must be.
SELECT refuse_wheel(:wheel_id, :reason);

-- name: lose_wheel(wheel_id)$
-- The wheel is gone from its builder.
SELECT lose_wheel(:wheel_id);

