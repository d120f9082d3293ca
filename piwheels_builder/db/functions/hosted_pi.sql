-- Compare what is written down with what the account has: [{"name", "live"}], listed at a moment of this database's clock. A Pi that
-- nobody wrote down is written down now; one that runs is delivered; one that was delivered and is gone is cancelled, unless the list is
-- older than its delivery. One at a time.
CREATE OR REPLACE FUNCTION compare_hosted_pis(prefix text, account jsonb, listed_at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    LOCK TABLE hosted_pi IN SHARE ROW EXCLUSIVE MODE;
    INSERT INTO hosted_pi (name, specification)
    SELECT pi->>'name', '{}' FROM jsonb_array_elements(account) AS pi
    ON CONFLICT (name) DO NOTHING;
    UPDATE hosted_pi SET delivered_at = now()
    FROM jsonb_array_elements(account) AS pi
    WHERE hosted_pi.name = pi->>'name' AND (pi->>'live')::boolean AND delivered_at IS NULL;
    UPDATE hosted_pi
    SET cancelled_at = now(),
        failure = CASE WHEN cancel_wanted_at IS NULL THEN 'it left the account, and this fleet had not cancelled it' ELSE failure END
    WHERE starts_with(name, prefix) AND cancelled_at IS NULL AND delivered_at < listed_at
      AND name NOT IN (SELECT pi->>'name' FROM jsonb_array_elements(account) AS pi);
END $$;

-- Bring the fleet's Pis up to a number, on paper: who is missing is written down under names that nobody ever had. The answer is who is
-- to be ordered or waited for. Of those that were written down and never seen in the account no more than are still wanted; of those
-- that were delivered the ones that are not among the builders yet, since whoever ordered them did not come so far.
CREATE OR REPLACE FUNCTION plan_hosted_pis(
    prefix text, wanted integer, its_specification jsonb, account jsonb, listed_at timestamptz, builders text[]
) RETURNS TABLE (name text, specification jsonb, seen boolean)
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    there     integer;
    delivered integer;
    highest   bigint;
BEGIN
    PERFORM compare_hosted_pis(prefix, account, listed_at);
    SELECT count(*), count(delivered_at) INTO there, delivered
    FROM hosted_pi WHERE starts_with(name, prefix) AND cancel_wanted_at IS NULL AND cancelled_at IS NULL;
    SELECT coalesce(max(substr(name, length(prefix) + 1)::bigint), 0) INTO highest
    FROM hosted_pi WHERE starts_with(name, prefix) AND substr(name, length(prefix) + 1) ~ '^[0-9]{1,15}$';
    INSERT INTO hosted_pi (name, specification)
    SELECT prefix || CASE WHEN number < 10 THEN '0' ELSE '' END || number, its_specification
    FROM generate_series(highest + 1, highest + wanted - there) AS number;
    RETURN QUERY
    SELECT open.name, open.specification, open.seen
    FROM (
        SELECT hosted_pi.*, seen, row_number() OVER (PARTITION BY delivered_at IS NULL ORDER BY seen DESC, ordered_at, name) AS place
        FROM hosted_pi
        CROSS JOIN LATERAL (
            SELECT EXISTS (SELECT FROM jsonb_array_elements(account) AS pi WHERE pi->>'name' = hosted_pi.name) AS seen
        ) AS listed
        WHERE starts_with(name, prefix) AND cancel_wanted_at IS NULL AND cancelled_at IS NULL
    ) AS open
    WHERE CASE WHEN open.delivered_at IS NULL THEN open.seen OR open.place <= wanted - delivered
               ELSE open.name <> ALL (builders) END
    ORDER BY open.name;
END $$;

-- Choose who leaves, down to a number: first those that were to leave already, then those that were never delivered, then the newest.
-- Who was to leave, and now may stay, stays. The answer is who is to be cancelled, and whether it has to be retired as a builder
-- first; also who was cancelled and is in the account all the same.
CREATE OR REPLACE FUNCTION choose_leaving_hosted_pis(prefix text, keep integer, account jsonb, listed_at timestamptz)
RETURNS TABLE (name text, builds boolean)
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM compare_hosted_pis(prefix, account, listed_at);
    UPDATE hosted_pi SET cancel_wanted_at = CASE WHEN place <= surplus THEN coalesce(cancel_wanted_at, now()) END
    FROM (
        SELECT name AS its_name, count(*) OVER () - keep AS surplus,
               row_number() OVER (
                   ORDER BY cancel_wanted_at IS NULL, delivered_at IS NOT NULL, ordered_at DESC, hosted_pi.name DESC) AS place
        FROM hosted_pi WHERE starts_with(name, prefix) AND cancelled_at IS NULL
    ) AS ranked
    WHERE name = its_name;
    RETURN QUERY
    SELECT hosted_pi.name, EXISTS (SELECT FROM builder WHERE builder.name = hosted_pi.name AND standing <> 'retired')
    FROM hosted_pi
    WHERE starts_with(hosted_pi.name, prefix)
      AND ((cancel_wanted_at IS NOT NULL AND cancelled_at IS NULL)
           OR (cancelled_at IS NOT NULL
               AND hosted_pi.name IN (SELECT pi->>'name' FROM jsonb_array_elements(account) AS pi)))
    ORDER BY hosted_pi.name;
END $$;

-- What came of an order: delivered where its failure is null.
CREATE OR REPLACE FUNCTION settle_hosted_pi(its_name text, its_failure text) RETURNS void
LANGUAGE sql SET search_path = public, pg_temp AS $$
    UPDATE hosted_pi
    SET delivered_at = CASE WHEN its_failure IS NULL THEN coalesce(delivered_at, now()) ELSE delivered_at END,
        failure = left(regexp_replace(its_failure COLLATE "C", '[^ -~]', '?', 'g'), 500)
    WHERE name = its_name
$$;

-- How often a Pi was power-cycled in vain: those that helped for a day are not counted.
CREATE OR REPLACE FUNCTION vain_power_cycles(pi hosted_pi) RETURNS integer
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT CASE
        WHEN pi.power_cycled_at + interval '1 day' < (SELECT last_seen_at FROM builder WHERE name = pi.name) THEN 0
        ELSE pi.power_cycles END
$$;

-- A Pi is about to be power-cycled.
CREATE OR REPLACE FUNCTION count_power_cycle(its_name text) RETURNS void
LANGUAGE sql SET search_path = public, pg_temp AS $$
    UPDATE hosted_pi SET power_cycles = vain_power_cycles(hosted_pi) + 1, power_cycled_at = now() WHERE name = its_name
$$;

-- Builders on hosted Pis that were not heard of for so long, and since they were last power-cycled neither. Only one that has been heard of
-- can fall silent. Where nobody of several is heard of, or the database has not been up for so long, it is not the Pis.
CREATE OR REPLACE FUNCTION silent_hosted_pis(prefix text, silence interval) RETURNS SETOF hosted_pi
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT hosted_pi.* FROM hosted_pi JOIN builder USING (name)
    WHERE starts_with(name, prefix) AND delivered_at IS NOT NULL AND cancel_wanted_at IS NULL AND cancelled_at IS NULL
      AND standing NOT IN ('quarantined', 'retired') AND greatest(last_seen_at, power_cycled_at) < now() - silence
      AND last_seen_at IS NOT NULL AND pg_postmaster_start_time() < now() - silence
      AND (SELECT count(*) = 1 OR max(last_seen_at) >= now() - silence FROM builder WHERE standing <> 'retired')
    ORDER BY name
$$;

-- The operator's rule for silent Pis: power-cycle each so often, then quarantine it. Both are written down here; the answer is what is
-- to be done now.
CREATE OR REPLACE FUNCTION mind_silent_hosted_pis(prefix text, silence interval, most integer)
RETURNS TABLE (name text, quarantined boolean)
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    silent hosted_pi;
BEGIN
    FOR silent IN SELECT * FROM silent_hosted_pis(prefix, silence) LOOP
        quarantined := vain_power_cycles(silent) >= most;
        IF quarantined THEN
            PERFORM suspect_builder(
                silent.name, format('silent for %s, and power-cycled %s times for that', silence, silent.power_cycles), true);
        ELSE
            PERFORM count_power_cycle(silent.name);
        END IF;
        name := silent.name;
        RETURN NEXT;
    END LOOP;
END $$;

-- Everything about each Pi that is written down and not done with: the account has it, it was not cancelled, or is still a builder.
-- silence is in seconds.
CREATE OR REPLACE FUNCTION told_hosted_pis(prefix text, account jsonb)
RETURNS TABLE (
    name text, specification jsonb, since text, minutes real, is_delivered boolean, cancel_wanted text, is_cancelled boolean,
    failure text, power_cycles integer, standing text, standing_reason text, silence real, leased bigint, attempts bigint
)
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT hosted_pi.name, specification, to_char(ordered_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'),
           (extract(epoch FROM now() - ordered_at) / 60)::real, delivered_at IS NOT NULL,
           to_char(cancel_wanted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), cancelled_at IS NOT NULL,
           failure, power_cycles, standing::text, standing_reason, extract(epoch FROM now() - last_seen_at)::real,
           (SELECT count(*) FROM queue WHERE queue.builder_id = builder.builder_id AND lease_id IS NOT NULL),
           coalesce(lately.attempts, 0)
    FROM hosted_pi
    LEFT JOIN builder USING (name)
    LEFT JOIN (
        SELECT builder_id, count(*) AS attempts FROM attempt WHERE recorded_at > now() - interval '1 day' GROUP BY builder_id
    ) AS lately USING (builder_id)
    WHERE starts_with(hosted_pi.name, prefix)
      AND (cancelled_at IS NULL OR standing <> 'retired'
           OR hosted_pi.name IN (SELECT pi->>'name' FROM jsonb_array_elements(account) AS pi))
    ORDER BY hosted_pi.name
$$;
