-- Note what a builder did, for the operator: the same deed within an hour on one row, at most two hundred rows an hour. Hostile
-- words are cut and stripped of what a terminal would obey.
CREATE OR REPLACE FUNCTION note_incident(its_builder integer, deed text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    said text := left(regexp_replace(deed COLLATE "C", '[^ -~]', '?', 'g'), 500);
    rows_this_hour bigint;
BEGIN
    SELECT count(*) INTO rows_this_hour FROM incident WHERE builder_id = its_builder AND at > now() - interval '1 hour';
    IF rows_this_hour >= 200 THEN
        said := 'deeds beyond two hundred within an hour, which are not told one by one';
    END IF;
    UPDATE incident SET times = times + 1, last_at = now()
    WHERE incident_id = (
        SELECT incident_id FROM incident WHERE builder_id = its_builder AND at > now() - interval '1 hour' AND what = said
        ORDER BY incident_id DESC LIMIT 1);
    IF NOT FOUND THEN
        INSERT INTO incident (builder_id, what) VALUES (its_builder, said);
    END IF;
END $$;

-- Believe a builder nothing more until the operator says resume or distrust. It is given no work, its leases are not renewed, its
-- wheels not published.
CREATE OR REPLACE FUNCTION quarantine_builder(its_builder integer, why text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM note_incident(its_builder, why);
    UPDATE builder SET standing = 'quarantined', standing_reason = left(regexp_replace(why COLLATE "C", '[^ -~]', '?', 'g'), 500),
                       trusted_until = NULL
    WHERE builder_id = its_builder AND standing NOT IN ('quarantined', 'retired');
END $$;

-- What the index host found out about a builder: noted, and where no honest host could have done it, the builder is quarantined.
-- False for a name that no builder has.
CREATE OR REPLACE FUNCTION suspect_builder(its_name text, what text, quarantine boolean) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    suspect integer;
BEGIN
    SELECT builder_id INTO suspect FROM builder WHERE name = its_name;
    IF NOT FOUND THEN
        RETURN false;
    ELSIF quarantine THEN
        PERFORM quarantine_builder(suspect, what);
    ELSE
        PERFORM note_incident(suspect, what);
    END IF;
    RETURN true;
END $$;

-- End what builders have had open for longer than this, and note it: they come for moments, and what stays holds up the cleaning of
-- every table. A builder's own limits are its own to change.
CREATE OR REPLACE FUNCTION end_long_sessions(than interval) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    long_one record;
BEGIN
    FOR long_one IN
        SELECT pid, builder_id FROM pg_stat_activity JOIN builder ON builder.login = usename WHERE xact_start < now() - than
    LOOP
        PERFORM note_incident(long_one.builder_id, format('a transaction of more than %s, which was ended', than));
        PERFORM pg_terminate_backend(long_one.pid);
    END LOOP;
END $$;

-- Take back all that is leased to a builder.
CREATE OR REPLACE FUNCTION take_back_leases(from_builder integer, why text) RETURNS void LANGUAGE sql AS $$
    WITH taken AS (
        UPDATE queue SET lease_id = NULL, builder_id = NULL, expires_at = NULL
        WHERE builder_id = from_builder AND lease_id IS NOT NULL
        RETURNING build_id
    )
    UPDATE build SET state = 'pending', reason = why FROM taken WHERE taken.build_id = build.build_id
$$;

-- Queue finished builds again, as what they are: the newest release of a project, or back catalogue.
CREATE OR REPLACE FUNCTION build_again(builds bigint[], why text) RETURNS void LANGUAGE sql AS $$
    UPDATE build SET state = 'pending', reason = why WHERE build_id = ANY (builds) AND state IN ('built', 'failed');
    SELECT enqueue(build_id, CASE newest_first WHEN 1 THEN 1 ELSE 2 END, 60)
    FROM build JOIN release USING (release_id) WHERE build_id = ANY (builds) AND state = 'pending';
$$;

-- The wheels that a builder recorded since a moment, and that nobody published or refused, count as lost. The answer is their builds.
CREATE OR REPLACE FUNCTION lose_wheels_of(its_builder integer, since timestamptz) RETURNS bigint[] LANGUAGE sql AS $$
    WITH lost AS (
        UPDATE wheel SET lost_at = now()
        FROM attempt
        WHERE attempt.attempt_id = wheel.attempt_id AND attempt.builder_id = its_builder AND attempt.recorded_at >= since
          AND wheel.published_at IS NULL AND wheel.refused_reason IS NULL AND wheel.lost_at IS NULL
        RETURNING wheel.build_id
    )
    SELECT coalesce(array_agg(build_id), '{}') FROM lost
$$;

-- Builds whose failure, the last word on them, is that of one builder since a moment.
CREATE OR REPLACE FUNCTION failures_of(its_builder integer, since timestamptz) RETURNS bigint[] LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(build_id), '{}')
    FROM attempt JOIN build USING (build_id)
    WHERE attempt.builder_id = its_builder AND attempt.recorded_at >= since AND build.state = 'failed'
      AND NOT EXISTS (
          SELECT FROM attempt AS later WHERE later.build_id = attempt.build_id AND later.attempt_id > attempt.attempt_id)
$$;

-- Let go of parked builds that a builder had a hand in since a moment: its faults may be why they were parked. The answer is which.
CREATE OR REPLACE FUNCTION unpark_builds_of(its_builder integer, since timestamptz) RETURNS bigint[] LANGUAGE sql AS $$
    WITH unparked AS (
        UPDATE queue SET held = NULL, not_before = '-infinity', queued_at = now()
        WHERE held IS NOT NULL AND lease_id IS NULL AND EXISTS (
            SELECT FROM attempt
            WHERE attempt.build_id = queue.build_id AND attempt.builder_id = its_builder AND attempt.recorded_at >= since)
        RETURNING build_id
    )
    SELECT coalesce(array_agg(build_id), '{}') FROM unparked
$$;

-- Believe nothing that a builder said since a moment: it is quarantined and stays so, its leases are taken back, what it built and is
-- unpublished is lost, and that and what it failed is queued again, parked builds too. Nobody waits for its logs since. What it recorded before is published. The answer names what is
-- queued again, and what is published, which with withdraw leaves its pages.
CREATE OR REPLACE FUNCTION distrust_builder(its_name text, since timestamptz, why text, withdraw boolean)
RETURNS TABLE (became text, project text, version text, target text, wheel text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    suspect integer;
    again   bigint[];
    served  bigint[];
BEGIN
    UPDATE builder
    SET standing = CASE standing WHEN 'retired' THEN standing ELSE 'quarantined' END, trusted_until = since,
        standing_reason = format('distrusted since %s: %s', date_trunc('second', since AT TIME ZONE 'UTC') || ' UTC', why)
    WHERE name = its_name RETURNING builder_id INTO suspect;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no builder is called %', its_name USING ERRCODE = 'no_data_found';
    END IF;
    PERFORM note_incident(suspect, 'distrusted: ' || why);
    PERFORM take_back_leases(suspect, its_name || ' is distrusted: ' || why);
    again := lose_wheels_of(suspect, since) || failures_of(suspect, since);
    PERFORM build_again(again, its_name || ' is distrusted: ' || why);
    again := again || unpark_builds_of(suspect, since);
    UPDATE attempt SET log_size = NULL
    WHERE builder_id = suspect AND recorded_at >= since AND log_size IS NOT NULL AND log_stored_at IS NULL;
    SELECT array_agg(wheel_id) INTO served FROM wheel JOIN attempt USING (attempt_id)
    WHERE attempt.builder_id = suspect AND attempt.recorded_at >= since AND published_at IS NOT NULL AND withdrawn_at IS NULL;
    IF withdraw THEN
        PERFORM withdraw_wheel(wheel_id, its_name || ' is distrusted: ' || why) FROM unnest(served) AS wheel_id;
    END IF;
    RETURN QUERY
    SELECT told.became, project.name, release.version,
           target.python || '-' || target.architecture || '-' || target.os_release, told.wheel
    FROM (
        SELECT 'queued again' AS became, again_id AS build_id, NULL AS wheel FROM unnest(again) AS again_id
        UNION ALL
        SELECT CASE WHEN withdraw THEN 'withdrawn' ELSE 'published' END, build_id, filename FROM wheel WHERE wheel_id = ANY (served)
    ) AS told
    JOIN build USING (build_id)
    JOIN release USING (release_id)
    JOIN project USING (project_id)
    JOIN target USING (target_id)
    ORDER BY told.became, project.name, release.newest_first;
END $$;
