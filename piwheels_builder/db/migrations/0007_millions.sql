-- A queue of millions: what users asked for comes first, retries stay out of the way, a new target is looked into piece by piece, and
-- what there is of everything is counted as it changes.

-- Made again under another name.
DROP FUNCTION IF EXISTS expected_cost(bigint, real);

-- What users asked the index for and could not get. version is canonical; the empty string means the newest release of the project,
-- whichever that is. It orders what is wanted, and makes nothing wanted. Forgotten once nobody has asked for two months.
CREATE TABLE demand (
    project        text NOT NULL,
    version        text NOT NULL DEFAULT '',
    asked          integer NOT NULL,
    asked_first_at timestamptz NOT NULL DEFAULT now(),
    asked_last_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT one_demand_each PRIMARY KEY (project, version),
    CONSTRAINT demand_was_asked CHECK (asked > 0)
);
COMMENT ON COLUMN queue.priority IS '-1: asked for by users, 0: forced by the operator or fresh, 1: newest release of its project, 2: back catalogue';

-- Projects up to this one have been looked at for the target since somebody builds for it: null once that is all of them
-- (piwheels_builder/catalogue/sweep.py). A target that is there already was looked at by every sync.
ALTER TABLE target ADD COLUMN swept_to integer DEFAULT 0;
UPDATE target SET swept_to = NULL;

-- A build that is to be tried again later stays out of this index until its pause is over: a thousand of them at its head, after an hour
-- without network say, would be read by every lease. Written once, in seconds for a million queued builds.
DROP INDEX queue_leasable;
CREATE INDEX queue_leasable ON queue (target_id, memory_class, priority, estimate_seconds DESC, build_id)
    WHERE lease_id IS NULL AND waits_for IS NULL AND held IS NULL AND not_before = '-infinity';
CREATE INDEX queue_delayed ON queue (not_before) WHERE not_before > '-infinity';

-- A lease's rows, and a builder's, without those of any other.
DROP INDEX queue_builder;
CREATE INDEX queue_builder ON queue (builder_id, lease_id) WHERE lease_id IS NOT NULL;
CREATE INDEX queue_held ON queue (build_id) WHERE held IS NOT NULL;

-- What failed for one reason, without reading what did not.
CREATE INDEX attempt_failure ON attempt (outcome) WHERE outcome <> 'built';
CREATE INDEX attempt_missing ON attempt (missing text_pattern_ops) WHERE missing IS NOT NULL;

-- How many there are of what, and how much that amounts to, for each target or (0) for none: kept by triggers (functions/statistics.sql),
-- so that nobody ever counts a table. Every change is a row of statistic_change, which waits for nobody; once a round they are folded
-- into statistic. amount is seconds of the queue (estimated) and of attempts (taken), bytes of wheels, else 0.
CREATE TABLE statistic (
    what      text NOT NULL,
    target_id smallint NOT NULL,
    number    bigint NOT NULL,
    amount    double precision NOT NULL,
    CONSTRAINT one_statistic_each PRIMARY KEY (what, target_id)
) WITH (fillfactor = 50);
CREATE TABLE statistic_change (
    what      text NOT NULL,
    target_id smallint NOT NULL,
    number    bigint NOT NULL,
    amount    double precision NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
