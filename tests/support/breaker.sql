-- name: define_stream()#
-- Attempts of many projects, one a project, spread over the builders named, as record_attempt would note them; what the breaker trips
-- before each dispatch, which is every tenth attempt, ends the stream. failing is the probability that an attempt ends by its release.
CREATE PROCEDURE stream(attempts integer, builders text[], failing float, dying float, INOUT done integer)
LANGUAGE plpgsql AS $$
DECLARE
    ids integer[] := ARRAY(SELECT builder_id FROM builder WHERE name = ANY (builders) ORDER BY builder_id);
    draw float;
    first_project integer := (random() * 1e9)::integer;
BEGIN
    FOR n IN 1 .. attempts LOOP
        draw := random();
        IF random() < dying THEN
            PERFORM note_health(ids[1 + n % cardinality(ids)], 1::smallint, first_project + n, 'disk_full', 'infrastructure', false);
        ELSE
            PERFORM note_health(ids[1 + n % cardinality(ids)], 1::smallint, first_project + n,
                                (CASE WHEN draw < failing THEN 'compile_error' ELSE 'built' END)::outcome,
                                (CASE WHEN draw < failing THEN 'release' ELSE 'none' END)::blame, false);
        END IF;
        done := n;
        IF n % 10 = 0 THEN
            EXIT WHEN EXISTS (SELECT FROM trip_breaker());
            COMMIT;
        END IF;
    END LOOP;
END $$;

-- name: seed(value)$
-- The same chances every time.
SELECT setseed(:value);

-- name: stream(attempts, builders, failing, dying)$
-- How many attempts passed before the breaker tripped, or all.
CALL stream(:attempts, :builders, :failing, :dying, NULL);

-- name: be_quick()#
-- What a crash would lose is of no interest here.
SET synchronous_commit = off;

-- name: record(lease_id, build_id, outcome)$
-- A result without a wheel.
SELECT record_attempt(:lease_id, :build_id, :outcome::outcome, now(), 1.5, NULL, 'the error', 'the log', 'gcc 12', NULL, NULL, NULL);
