-- Whether a wheel imports, and which libraries of the system it needs.

-- As in 0003: an enum gets a new word by a new type, and no function may name the old one.
DROP FUNCTION IF EXISTS record_attempt(
    uuid, bigint, outcome, timestamptz, real, bigint, text, text, text, text, text, bigint, text, text, bigint);
DROP FUNCTION IF EXISTS retry_build(bigint, outcome, boolean);
DROP FUNCTION IF EXISTS note_health(integer, smallint, integer, outcome, blame, boolean);
DROP FUNCTION IF EXISTS failed_builds(outcome, text, text, text, text, text);
DROP FUNCTION IF EXISTS requeue_failures(text, outcome, text, text, text, text, text);
DROP INDEX IF EXISTS attempt_failure;
ALTER TYPE outcome RENAME TO outcome_before;
CREATE TYPE outcome AS ENUM (
    'built',
    'version_mismatch', 'requirement_unavailable', 'requirement_without_wheel', 'import_error', 'python2_only',
    'python_api_gone', 'compile_error', 'missing_header', 'missing_program', 'needs_network', 'prompted', 'timeout', 'stalled',
    'log_flood', 'disk_limit', 'process_limit', 'no_wheel_made', 'bad_wheel', 'unimportable', 'bad_sdist', 'deliberate_refusal',
    'build_error',
    'out_of_memory',
    'disk_full', 'killed', 'lease_lost', 'network_away', 'sdist_unavailable', 'builder_fault'
);
ALTER TABLE outcome_meaning ALTER COLUMN outcome TYPE outcome USING outcome::text::outcome;
ALTER TABLE attempt ALTER COLUMN outcome TYPE outcome USING outcome::text::outcome;
DROP TYPE outcome_before;
INSERT INTO outcome_meaning VALUES ('unimportable', 'release', 'the wheel is well, and importing its modules fails');
CREATE INDEX attempt_failure ON attempt (outcome) WHERE outcome <> 'built';

CREATE TYPE import_result AS ENUM ('passed', 'failed', 'untried', 'not_needed');

-- Of a builder of an older version nothing is known (null). import_detail says why it failed or was not tried. libraries holds each
-- shared library that the wheel needs of the system, by soname, with the package of the OS release that brings it, or null: as its
-- builder said until the wheel is published, from then on the libraries that the index host found itself.
ALTER TABLE wheel
    ADD COLUMN import_result import_result,
    ADD COLUMN import_detail text,
    ADD COLUMN libraries     jsonb,
    ADD CONSTRAINT libraries_are_an_object CHECK (jsonb_typeof(libraries) = 'object');
