-- What attempts teach: how much memory a project needs, what is missing where, and when a builder no longer is what it was.

-- Functions and a view whose arguments, answers or columns change are made again after this; nothing may name the old type.
DROP FUNCTION IF EXISTS record_attempt(uuid, bigint, outcome, timestamptz, real, bigint, text, text, text, text, text, bigint);
DROP FUNCTION IF EXISTS retry_build(bigint, outcome, boolean);
DROP FUNCTION IF EXISTS heartbeat(uuid[], bigint[], interval);
DROP FUNCTION IF EXISTS lease_batch(text, real, integer, interval);
DROP VIEW IF EXISTS builder_load;

-- A project's attempts are one walk of an index (project_id is its build's). memory_class is the class the attempt was given, 0 for
-- those before this column. mechanism is what stopped a build that was stopped; missing is the header, program, module or
-- requirement that it lacked.
ALTER TABLE attempt
    ADD COLUMN project_id   integer,
    ADD COLUMN memory_class smallint NOT NULL DEFAULT 0,
    ADD COLUMN mechanism    text,
    ADD COLUMN missing      text;
UPDATE attempt SET project_id = release.project_id
FROM build JOIN release USING (release_id) WHERE build.build_id = attempt.build_id;

-- An enum gets new words by a new type: ALTER TYPE ... ADD VALUE cannot be followed by their use in one transaction, and a migration
-- is one. It writes the table anew, which also leaves what the update above made dead behind.
ALTER TYPE outcome RENAME TO outcome_before;
CREATE TYPE outcome AS ENUM (
    'built',
    'version_mismatch', 'requirement_unavailable', 'requirement_without_wheel', 'import_error', 'python2_only',
    'python_api_gone', 'compile_error', 'missing_header', 'missing_program', 'needs_network', 'prompted', 'timeout', 'stalled',
    'log_flood', 'disk_limit', 'process_limit', 'no_wheel_made', 'bad_wheel', 'bad_sdist', 'deliberate_refusal', 'build_error',
    'out_of_memory',
    'disk_full', 'killed', 'lease_lost', 'network_away', 'sdist_unavailable', 'builder_fault'
);
ALTER TABLE outcome_meaning ALTER COLUMN outcome TYPE outcome USING outcome::text::outcome;
ALTER TABLE attempt
    ALTER COLUMN outcome TYPE outcome USING outcome::text::outcome,
    ALTER COLUMN project_id SET NOT NULL;
DROP TYPE outcome_before;
INSERT INTO outcome_meaning VALUES
    ('disk_limit', 'release', 'killed at the limit of disk space or files'),
    ('process_limit', 'release', 'killed at the limit of processes');
CREATE INDEX attempt_project ON attempt (project_id, attempt_id);

-- How much memory a build of each class may use, in bytes: null is all that its builder has. builder/limits.py says the same (tested).
CREATE TABLE memory_limit (
    memory_class smallint PRIMARY KEY,
    bytes        bigint,
    CONSTRAINT only_the_largest_class_is_unlimited CHECK ((bytes IS NULL) = (memory_class = 2))
);
INSERT INTO memory_limit VALUES (0, 671088640), (1, 3221225472), (2, NULL);

-- False while a builder says that its disk or memory is too full to take more.
ALTER TABLE builder ADD COLUMN has_room boolean NOT NULL DEFAULT true;

-- The breaker's memory (functions/breaker.sql): for each builder, and apart for each priority of builds, since forced builds, newest
-- releases and the back catalogue fail at different rates. Faults are attempts that ended by an infrastructure outcome, failures
-- those that ended by the release. now moves with the latest attempts, usual with the last several hundred; seen counts what was
-- observed since the builder was new or resumed. recent_projects are those observed last.
CREATE TABLE builder_health (
    builder_id      integer NOT NULL REFERENCES builder,
    priority        smallint NOT NULL,
    faults_now      real NOT NULL DEFAULT 0,
    faults_usual    real NOT NULL DEFAULT 0,
    faults_seen     integer NOT NULL DEFAULT 0,
    failures_now    real NOT NULL DEFAULT 0.5,
    failures_usual  real NOT NULL DEFAULT 0.5,
    failures_seen   integer NOT NULL DEFAULT 0,
    recent_projects integer[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (builder_id, priority)
-- Written with every attempt, and never a column that an index holds.
) WITH (fillfactor = 50);
COMMENT ON COLUMN builder_health.failures_usual IS 'one in two before there is a history, so that hard releases alone trip nothing';

-- While it has its one row, nothing is handed out to anybody. by_whom is a database role, or the breaker.
CREATE TABLE dispatch_pause (
    one     boolean PRIMARY KEY DEFAULT true CONSTRAINT one_pause_at_most CHECK (one),
    reason  text NOT NULL,
    by_whom text NOT NULL,
    since   timestamptz NOT NULL DEFAULT now()
);
