-- Count a piece of a log: requests is an array of {day, client, bot, filename} for a wheel that was downloaded whole and
-- {day, client, bot, project} for a page that was redirected, client being whatever tells clients apart. False, and nothing done, where
-- the log is not counted to read_from, so that no line counts twice. The new askings of people are demand.
CREATE OR REPLACE FUNCTION count_downloads(of_log text, read_from bigint, now_read_to bigint, requests jsonb) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    asked record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('count_downloads'));
    INSERT INTO download_log (first_line, read_to) VALUES (of_log, 0) ON CONFLICT DO NOTHING;
    UPDATE download_log SET read_to = now_read_to, seen_at = now() WHERE first_line = of_log AND read_to = read_from;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO download_key (day, secret)
    SELECT DISTINCT (request ->> 'day')::date, uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
    FROM jsonb_array_elements(requests) AS request
    ON CONFLICT DO NOTHING;
    FOR asked IN
        WITH line AS (
            SELECT day, filename, project, bot, count(*) AS times,
                   substr(sha256(secret || convert_to(concat_ws(' ', client, filename, project), 'UTF8')), 1, 12) AS digest
            FROM jsonb_to_recordset(requests) AS request (day date, client text, bot boolean, filename text, project text)
            JOIN download_key USING (day)
            WHERE EXISTS (SELECT FROM wheel WHERE wheel.filename = request.filename AND published_at IS NOT NULL)
               OR EXISTS (SELECT FROM project WHERE name = request.project)
            GROUP BY day, filename, project, bot, digest
        ), first AS (
            INSERT INTO download_seen SELECT DISTINCT day, digest FROM line WHERE NOT bot ON CONFLICT DO NOTHING RETURNING day, digest
        ), counted AS (
            INSERT INTO download AS known (project_id, wheel_id, day, number, repeated, bots)
            SELECT project_id, wheel_id, line.day, count(first.digest),
                   coalesce(sum(times) FILTER (WHERE NOT bot), 0) - count(first.digest), coalesce(sum(times) FILTER (WHERE bot), 0)
            FROM line LEFT JOIN first ON NOT bot AND first.day = line.day AND first.digest = line.digest
            JOIN wheel ON wheel.filename = line.filename AND published_at IS NOT NULL
            JOIN build USING (build_id) JOIN release USING (release_id)
            GROUP BY project_id, wheel_id, line.day
            ON CONFLICT (project_id, wheel_id, day) DO UPDATE
            SET number = known.number + excluded.number, repeated = known.repeated + excluded.repeated,
                bots = known.bots + excluded.bots
        )
        SELECT line.project, count(*)::integer AS clients FROM line JOIN first USING (day, digest)
        WHERE line.project IS NOT NULL GROUP BY line.project ORDER BY line.project
    LOOP
        PERFORM note_demand(asked.project, '', asked.clients);
    END LOOP;
    RETURN true;
END $$;

-- After a round: keys that are two days old go, with what they hashed; days that are past ninety are folded into their month; logs that
-- are gone for two months are forgotten.
CREATE OR REPLACE FUNCTION fold_downloads() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM download_key WHERE made_at < now() - interval '2 days';
    DELETE FROM download_log WHERE seen_at < now() - interval '60 days';
    WITH past AS (
        DELETE FROM download WHERE day < current_date - 90 AND day <> date_trunc('month', day) RETURNING *
    )
    INSERT INTO download AS known (project_id, wheel_id, day, number, repeated, bots)
    SELECT project_id, wheel_id, date_trunc('month', day)::date AS month, sum(number), sum(repeated), sum(bots)
    FROM past GROUP BY project_id, wheel_id, month
    ON CONFLICT (project_id, wheel_id, day) DO UPDATE
    SET number = known.number + excluded.number, repeated = known.repeated + excluded.repeated, bots = known.bots + excluded.bots;
$$;
