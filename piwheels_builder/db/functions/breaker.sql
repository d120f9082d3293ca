-- A control chart of exponentially weighted moving averages (Roberts, 1959) for each builder: how often its latest attempts failed,
-- against how often they usually do. Written with every attempt, judged before dispatch.

-- The rate from which on an average with this weight of the latest observation has left its history: four standard deviations above the
-- usual rate, and margin above it at least, since few observations of rare events are far from a normal distribution. several is how many
-- equally weighted builders the average is of.
CREATE OR REPLACE FUNCTION breaker_limit(usual real, weight real, margin real, several real) RETURNS real
LANGUAGE sql IMMUTABLE AS $$
    SELECT (usual + greatest(4 * sqrt(usual * greatest(1 - usual, 0) * weight / (2 - weight) / several), margin))::real
$$;

-- A builder without a fault yet may have one in ten; one whose history is worse than three in ten is never fine.
CREATE OR REPLACE FUNCTION faults_limit(usual real, several real DEFAULT 1) RETURNS real LANGUAGE sql IMMUTABLE AS $$
    SELECT breaker_limit(least(greatest(usual, 0.1), 0.3)::real, 0.1::real, 0.3::real, several)
$$;

-- A fifth above the usual rate is enough for a fleet; but one project that fails everywhere moves all of it at once, so no less.
CREATE OR REPLACE FUNCTION failures_limit(usual real, several real DEFAULT 1) RETURNS real LANGUAGE sql IMMUTABLE AS $$
    SELECT breaker_limit(greatest(usual, 0.1)::real, 0.05::real, CASE WHEN several > 1 THEN 0.2 ELSE 0.35 END::real, several)
$$;

-- An average after one more observation, if that counts. Never quite nothing: a real that gets too small is an error.
CREATE OR REPLACE FUNCTION moved(average real, weight real, event boolean, counts boolean) RETURNS real LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN counts THEN greatest(average + weight * (event::integer - average), 0.000001) ELSE average END::real
$$;

-- Take an attempt into its builder's averages, as far as it is news of the builder. A project counts once among the last twenty: one
-- whose three hundred releases all fail says no more than one that fails once, and one whose three hundred releases all die no more
-- than one that dies once. A full disk kills those of every project. So a fault of the builder's own counts apart, as the project's
-- number below nothing: one that was built a moment ago may still say it, once. A build that failed before and fails again says
-- nothing (again), and neither does one that died before and dies again. An sdist that upstream has lost is its project's affair.
-- The usual rates stand still while the latest are beyond their limit, so that an alarm does not become the rule before it is heard.
CREATE OR REPLACE FUNCTION note_health(
    its_builder integer, its_priority smallint, its_project integer, its_outcome outcome, whose blame, again boolean
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    fault   boolean := whose = 'infrastructure';
    failure boolean := whose IN ('release', 'memory');
    subject integer := CASE WHEN fault AND its_outcome <> 'sdist_unavailable' THEN -its_project ELSE its_project END;
BEGIN
    UPDATE builder_health AS health SET
        faults_now = moved(faults_now, 0.1::real, fault, news.of_faults),
        faults_usual = moved(faults_usual, 0.002::real, fault, news.of_faults AND faults_now <= faults_limit(faults_usual)),
        faults_seen = faults_seen + news.of_faults::integer,
        failures_now = moved(failures_now, 0.05::real, failure, news.of_failures),
        failures_usual = moved(failures_usual, 0.002::real, failure,
                               news.of_failures AND failures_now <= failures_limit(failures_usual)),
        failures_seen = failures_seen + news.of_failures::integer,
        recent_projects = CASE WHEN news.of_project THEN (subject || recent_projects)[1:20] ELSE recent_projects END
    FROM (
        SELECT NOT fault OR NOT again AND fresh AS of_faults, NOT fault AND NOT again AND fresh AS of_failures,
               NOT again AND fresh AS of_project
        FROM (
            SELECT subject <> ALL (recent_projects) AS fresh
            FROM builder_health WHERE builder_id = its_builder AND priority = its_priority) AS seen
    ) AS news
    WHERE health.builder_id = its_builder AND health.priority = its_priority;
    IF NOT FOUND THEN
        -- Another connection of this builder's may have been first.
        INSERT INTO builder_health (builder_id, priority) VALUES (its_builder, its_priority) ON CONFLICT DO NOTHING;
        PERFORM note_health(its_builder, its_priority, its_project, its_outcome, whose, again);
    END IF;
END $$;

-- Which active builders have left their history, and how: the breaker's view of the fleet. At least five attempts are needed to
-- speak of faults, ten to speak of failures.
CREATE OR REPLACE VIEW builder_alarm AS
    SELECT DISTINCT ON (builder.builder_id) builder.builder_id, builder.name, alarm.reason
    FROM builder
    JOIN builder_health USING (builder_id)
    CROSS JOIN LATERAL (VALUES
        (1, faults_seen >= 5 AND faults_now > faults_limit(faults_usual), faults_now, faults_usual,
         'ended by a fault of the builder''s or its network'),
        (2, failures_seen >= 10 AND failures_now > failures_limit(failures_usual), failures_now, failures_usual, 'failed')
    ) AS stream (place, over, now, usual, what)
    CROSS JOIN LATERAL (
        SELECT format('%s %% of its latest attempts %s, usually %s %%', round(100 * now), what, round(100 * usual)) AS reason
    ) AS alarm
    WHERE standing = 'active' AND over
    ORDER BY builder.builder_id, place;

-- Whether the fleet as a whole has left its history, though no single builder has: the mean of all that are not in alarm
-- themselves, each by how much is known of it. Null while it has not.
CREATE OR REPLACE FUNCTION fleet_alarm() RETURNS text LANGUAGE sql STABLE AS $$
    WITH known AS (
        SELECT stream.place, priority, stream.now, stream.usual, least(stream.seen, 500)::real AS weight
        FROM builder
        JOIN builder_health USING (builder_id)
        CROSS JOIN LATERAL (VALUES
            (1, faults_now, faults_usual, faults_seen, 5), (2, failures_now, failures_usual, failures_seen, 10)
        ) AS stream (place, now, usual, seen, enough)
        WHERE standing = 'active' AND seen >= enough AND builder_id NOT IN (SELECT builder_id FROM builder_alarm)
    ), mean AS (
        SELECT place, (sum(weight * now) / sum(weight))::real AS now, (sum(weight * usual) / sum(weight))::real AS usual,
               (sum(weight) ^ 2 / sum(weight * weight))::real AS several, count(*) AS builders
        FROM known GROUP BY place, priority HAVING count(*) > 1
    )
    SELECT format('on %s builders together %s %% of the latest attempts %s, usually %s %%', builders, round(100 * now),
                  CASE place WHEN 1 THEN 'ended by faults of builders or network' ELSE 'failed' END, round(100 * usual))
    FROM mean
    WHERE now > CASE place WHEN 1 THEN faults_limit(usual, several) ELSE failures_limit(usual, several) END
    ORDER BY place LIMIT 1
$$;

-- Pause what has left its history, before anything is handed out: a builder; or everything, where more than half of several
-- builders did so or the fleet did as a whole, since then the builders are not to blame. The answer is what was paused, null for
-- everything, and why.
CREATE OR REPLACE FUNCTION trip_breaker() RETURNS TABLE (builder text, reason text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    alarmed  integer;
    active   integer;
    everyone text;
BEGIN
    IF EXISTS (SELECT FROM dispatch_pause) THEN
        RETURN;
    END IF;
    SELECT count(*) INTO alarmed FROM builder_alarm;
    SELECT count(*) INTO active FROM builder WHERE standing = 'active';
    everyone := CASE WHEN alarmed > 1 AND 2 * alarmed > active
        THEN format('%s of %s builders left their history at once; on %s, %s', alarmed, active,
                    (SELECT name FROM builder_alarm ORDER BY name LIMIT 1), (SELECT reason FROM builder_alarm ORDER BY name LIMIT 1))
        ELSE fleet_alarm() END;
    IF everyone IS NOT NULL THEN
        INSERT INTO dispatch_pause (reason, by_whom) VALUES (everyone, 'the breaker') ON CONFLICT DO NOTHING;
        RETURN QUERY SELECT NULL::text, everyone;
    ELSE
        RETURN QUERY
        UPDATE builder SET standing = 'paused', standing_reason = 'the breaker: ' || builder_alarm.reason
        FROM builder_alarm WHERE builder_alarm.builder_id = builder.builder_id AND builder.standing = 'active'
        RETURNING builder.name, builder.standing_reason;
    END IF;
END $$;

-- Hand out nothing more to an active builder, or to anybody where none is named. False where that was so already.
CREATE OR REPLACE FUNCTION pause_dispatch(its_name text, why text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF its_name IS NULL THEN
        INSERT INTO dispatch_pause (reason, by_whom) VALUES (why, session_user) ON CONFLICT DO NOTHING;
    ELSE
        UPDATE builder SET standing = 'paused', standing_reason = why WHERE name = its_name AND standing = 'active';
    END IF;
    RETURN FOUND;
END $$;

-- Hand out work again, to a paused or quarantined builder, or after everything was paused. The present rates become the history:
-- whoever resumes has looked, and either mended the cause or finds the rates right. A quarantined builder is believed again, and which
-- of two hosts it is, is seen anew. False where nothing was paused.
CREATE OR REPLACE FUNCTION resume_dispatch(its_name text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    resumed integer[];
    paused  boolean;
BEGIN
    IF its_name IS NULL THEN
        DELETE FROM dispatch_pause;
        paused := FOUND;
        SELECT array_agg(builder_id) INTO resumed FROM builder WHERE paused AND standing = 'active';
    ELSE
        UPDATE builder
        SET standing = 'active', standing_reason = NULL, trusted_until = NULL, session = NULL, session_since = NULL, former_sessions = '{}'
        WHERE name = its_name AND standing IN ('paused', 'quarantined')
        RETURNING ARRAY[builder_id] INTO resumed;
        paused := FOUND;
    END IF;
    UPDATE builder_health
    SET faults_usual = faults_now, faults_seen = 0, failures_usual = failures_now, failures_seen = 0, recent_projects = '{}'
    WHERE builder_id = ANY (resumed);
    RETURN paused;
END $$;
