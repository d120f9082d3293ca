-- name: is_known(project, version)$
-- Whether the catalogue has the project, and the version if one is named.
SELECT EXISTS (
    SELECT FROM project
    WHERE name = :project AND (
        :version::text IS NULL
        OR EXISTS (SELECT FROM release WHERE release.project_id = project.project_id AND version = :version)));

-- name: say(project, version, word, reason)$
-- The operator's word on a project or release, in place of an earlier one; its page is due. A withdrawal is of what is published, so
-- that it is new again where a wheel was published since. How many words changed.
WITH said AS (
    INSERT INTO page_instruction (project, version, word, reason) VALUES (:project, :version, :word::page_word, :reason)
    ON CONFLICT ON CONSTRAINT one_word_each DO UPDATE SET reason = excluded.reason, given_at = now()
    WHERE page_instruction.reason <> excluded.reason OR (excluded.word = 'withdraw' AND EXISTS (
        SELECT FROM project JOIN release USING (project_id) JOIN build USING (release_id) JOIN wheel USING (build_id)
        WHERE project.name = excluded.project AND excluded.version IN ('', release.version)
          AND wheel.published_at > page_instruction.given_at))
    RETURNING page_instruction.project)
SELECT count(*), count(page_changed(project_id)) FROM said JOIN project ON project.name = said.project;

-- name: take_back(project, version, word)$
-- The operator says so no more; its page is due. How many words changed.
WITH unsaid AS (
    DELETE FROM page_instruction WHERE project = :project AND version = :version AND word = :word::page_word RETURNING project)
SELECT count(*), count(page_changed(project_id)) FROM unsaid JOIN project ON project.name = unsaid.project;

-- name: said(word)
-- Where a word holds.
SELECT project, version, reason, given_at FROM page_instruction WHERE word = :word::page_word ORDER BY project, version;
