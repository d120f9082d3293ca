-- What a queued build is counted as: one thing, that which holds it up.
CREATE OR REPLACE FUNCTION queue_standing(lease_id uuid, held text, waits_for bigint, memory_class smallint) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN lease_id IS NOT NULL THEN 'queue leased'
                WHEN held IS NOT NULL THEN 'queue held'
                WHEN waits_for IS NOT NULL THEN 'queue waiting'
                ELSE 'queue free ' || memory_class END
$$;

-- What a wheel is counted as; null for one that was never published.
CREATE OR REPLACE FUNCTION wheel_standing(filename text, published_at timestamptz, withdrawn_at timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN withdrawn_at IS NOT NULL THEN 'wheel withdrawn'
                WHEN published_at IS NULL THEN NULL
                WHEN filename LIKE '%-none-any.whl' THEN 'wheel pure'
                ELSE 'wheel compiled' END
$$;

-- Builds by state. Each of these triggers is called once a statement, with all the rows it changed.
CREATE OR REPLACE FUNCTION count_builds() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO statistic_change
        SELECT 'build ' || state, target_id, count(*), 0 FROM after GROUP BY state, target_id;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO statistic_change
        SELECT 'build ' || state, target_id, -count(*), 0 FROM before GROUP BY state, target_id;
    ELSE
        INSERT INTO statistic_change
        SELECT 'build ' || state, target_id, sum(number), 0
        FROM (SELECT state, target_id, -1 AS number FROM before UNION ALL SELECT state, target_id, 1 FROM after) AS change
        GROUP BY state, target_id HAVING sum(number) <> 0;
    END IF;
    RETURN NULL;
END $$;

-- Queued builds by what holds them up, with their estimated seconds. A renewed lease changes nothing, and is not noted.
CREATE OR REPLACE FUNCTION count_queue() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO statistic_change
        SELECT queue_standing(lease_id, held, waits_for, memory_class) AS what, target_id, count(*), sum(estimate_seconds::float8)
        FROM after GROUP BY what, target_id;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO statistic_change
        SELECT queue_standing(lease_id, held, waits_for, memory_class) AS what, target_id, -count(*), -sum(estimate_seconds::float8)
        FROM before GROUP BY what, target_id;
    ELSE
        INSERT INTO statistic_change
        SELECT what, target_id, sum(sign), sum(sign * seconds)
        FROM (
            SELECT queue_standing(lease_id, held, waits_for, memory_class) AS what, target_id, -1 AS sign,
                   estimate_seconds::float8 AS seconds FROM before
            UNION ALL
            SELECT queue_standing(lease_id, held, waits_for, memory_class), target_id, 1, estimate_seconds FROM after
        ) AS change
        GROUP BY what, target_id HAVING sum(sign) <> 0 OR abs(sum(sign * seconds)) > 0.001;
    END IF;
    RETURN NULL;
END $$;

-- Attempts by outcome, with the seconds they took.
CREATE OR REPLACE FUNCTION count_attempts() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO statistic_change
    SELECT 'attempt ' || outcome, target_id, count(*), sum(seconds::float8)
    FROM after JOIN build USING (build_id) GROUP BY outcome, target_id;
    RETURN NULL;
END $$;

-- Published wheels, pure and compiled, and withdrawn ones, with their bytes. Twins are wheels of their own.
CREATE OR REPLACE FUNCTION count_wheels() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO statistic_change
        SELECT wheel_standing(filename, published_at, withdrawn_at) AS what, target_id, count(*), sum(size)
        FROM after JOIN build USING (build_id) WHERE published_at IS NOT NULL GROUP BY what, target_id;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO statistic_change
        SELECT wheel_standing(filename, published_at, withdrawn_at) AS what, target_id, -count(*), -sum(size)
        FROM before JOIN build USING (build_id) WHERE published_at IS NOT NULL GROUP BY what, target_id;
    ELSE
        INSERT INTO statistic_change
        SELECT what, target_id, sum(sign), sum(sign * size)
        FROM (
            SELECT build_id, wheel_standing(filename, published_at, withdrawn_at) AS what, size, -1 AS sign FROM before
            UNION ALL
            SELECT build_id, wheel_standing(filename, published_at, withdrawn_at), size, 1 FROM after
        ) AS change
        JOIN build USING (build_id)
        WHERE what IS NOT NULL GROUP BY what, target_id HAVING sum(sign) <> 0 OR sum(sign * size) <> 0;
    END IF;
    RETURN NULL;
END $$;

-- Projects and releases that upstream has or once had: no row of theirs is ever deleted.
CREATE OR REPLACE FUNCTION count_catalogue() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO statistic_change SELECT TG_TABLE_NAME, 0, count(*), 0 FROM after HAVING count(*) > 0;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER builds_are_counted AFTER INSERT ON build
    REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION count_builds();
CREATE OR REPLACE TRIGGER changed_builds_are_counted AFTER UPDATE ON build
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION count_builds();
CREATE OR REPLACE TRIGGER removed_builds_are_counted AFTER DELETE ON build
    REFERENCING OLD TABLE AS before FOR EACH STATEMENT EXECUTE FUNCTION count_builds();
CREATE OR REPLACE TRIGGER queue_is_counted AFTER INSERT ON queue
    REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION count_queue();
CREATE OR REPLACE TRIGGER changed_queue_is_counted AFTER UPDATE ON queue
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION count_queue();
CREATE OR REPLACE TRIGGER removed_queue_is_counted AFTER DELETE ON queue
    REFERENCING OLD TABLE AS before FOR EACH STATEMENT EXECUTE FUNCTION count_queue();
CREATE OR REPLACE TRIGGER attempts_are_counted AFTER INSERT ON attempt
    REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION count_attempts();
CREATE OR REPLACE TRIGGER wheels_are_counted AFTER INSERT ON wheel
    REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION count_wheels();
CREATE OR REPLACE TRIGGER changed_wheels_are_counted AFTER UPDATE ON wheel
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION count_wheels();
CREATE OR REPLACE TRIGGER removed_wheels_are_counted AFTER DELETE ON wheel
    REFERENCING OLD TABLE AS before FOR EACH STATEMENT EXECUTE FUNCTION count_wheels();
CREATE OR REPLACE TRIGGER projects_are_counted AFTER INSERT ON project
    REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION count_catalogue();
CREATE OR REPLACE TRIGGER releases_are_counted AFTER INSERT ON release
    REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION count_catalogue();

-- Fold the changes that are committed into the counts. One caller at a time; another one has nothing to do.
CREATE OR REPLACE FUNCTION fold_statistics() RETURNS void LANGUAGE sql SET search_path = public, pg_temp AS $$
    WITH folded AS (
        DELETE FROM statistic_change WHERE (SELECT pg_try_advisory_xact_lock(hashtext('fold_statistics'))) RETURNING *
    )
    INSERT INTO statistic
    SELECT what, target_id, sum(number), sum(amount) FROM folded GROUP BY what, target_id
    ON CONFLICT (what, target_id) DO UPDATE
    SET number = statistic.number + excluded.number, amount = statistic.amount + excluded.amount
$$;

-- Count everything anew, where triggers were switched off. Reads every table whole (a minute at 25 million builds) and lets nobody
-- write meanwhile.
CREATE OR REPLACE FUNCTION recount_statistics() RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    LOCK TABLE project, release, build, queue, attempt, wheel IN SHARE MODE;
    DELETE FROM statistic;
    DELETE FROM statistic_change;
    INSERT INTO statistic
    SELECT 'project', 0, count(*), 0 FROM project
    UNION ALL
    SELECT 'release', 0, count(*), 0 FROM release
    UNION ALL
    SELECT 'build ' || state, target_id, count(*), 0 FROM build GROUP BY state, target_id
    UNION ALL
    SELECT queue_standing(lease_id, held, waits_for, memory_class) AS what, target_id, count(*), sum(estimate_seconds::float8)
    FROM queue GROUP BY what, target_id
    UNION ALL
    SELECT 'attempt ' || outcome, target_id, count(*), sum(seconds::float8)
    FROM attempt JOIN build USING (build_id) GROUP BY outcome, target_id
    UNION ALL
    SELECT wheel_standing(filename, published_at, withdrawn_at) AS what, target_id, count(*), sum(size)
    FROM wheel JOIN build USING (build_id) WHERE published_at IS NOT NULL GROUP BY what, target_id;
END $$;

-- Once, when a database gets its counts.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM statistic) THEN
        PERFORM recount_statistics();
    END IF;
END $$;

-- How many there are of what, and how much that amounts to, as of now.
CREATE OR REPLACE VIEW statistics AS
    SELECT what, target_id, sum(number)::bigint AS number, sum(amount) AS amount
    FROM (SELECT * FROM statistic UNION ALL SELECT * FROM statistic_change) AS part
    GROUP BY what, target_id
    HAVING sum(number) <> 0;
