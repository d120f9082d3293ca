-- name: note_demand(project, version, times)$
-- Users asked for this and could not get it; how many queued builds go first that did not, null for what is in no catalogue.
SELECT note_demand(:project, :version, :times);

-- name: note_demands(projects, times)
-- The same for the newest releases of many projects, in the order given: those in a catalogue, with how many builds go first.
SELECT project, hastened
FROM unnest(:projects::text[], :times::integer[]) WITH ORDINALITY AS asked (project, times, place)
CROSS JOIN LATERAL note_demand(project, '', times) AS hastened
WHERE hastened IS NOT NULL
ORDER BY place;

-- name: drop_demand(project, version)$
-- Nobody waits for it any more; false where nobody did.
SELECT drop_demand(:project, :version);

-- name: demands()
-- What users asked for, the most asked first, with how much of it is still queued.
SELECT demand.project, nullif(demand.version, ''), demand.asked, demand.asked_last_at,
       (SELECT count(*)
        FROM project JOIN release USING (project_id) JOIN build USING (release_id) JOIN queue USING (build_id)
        WHERE project.name = demand.project
          AND CASE demand.version WHEN '' THEN newest_first = 1 ELSE release.version = demand.version END)
FROM demand
ORDER BY asked DESC, demand.project, demand.version;
