-- A fleet of strangers' hosts: who a builder is, what it was given, what it did that no honest one does, and its logs.

-- Functions and a view whose arguments, answers or columns change are made again after this.
DROP FUNCTION IF EXISTS heartbeat(uuid[], bigint[], interval, boolean);
DROP FUNCTION IF EXISTS register_builder(text, integer, integer, smallint[]);
DROP FUNCTION IF EXISTS record_attempt(
    uuid, bigint, outcome, timestamptz, real, bigint, text, text, text, text, text, bigint, text, text);
DROP VIEW IF EXISTS builder_load;

-- certificate_serial is the serial number of the only client certificate this builder is believed with; without one, it is believed
-- where the operating system says who it is (a Unix socket). host_keys are its ssh host keys as pinned, address is where to reach
-- it. session is drawn by its service at each start: one that was superseded (former_sessions, the latest first) and opens a
-- connection after session_since is that of a second host. Of what a quarantined builder made, that which was recorded before
-- trusted_until is believed all the same.
ALTER TABLE builder
    ADD COLUMN certificate_serial numeric,
    ADD COLUMN host_keys          text[],
    ADD COLUMN address            text,
    ADD COLUMN session            uuid,
    ADD COLUMN session_since      timestamptz,
    ADD COLUMN former_sessions    uuid[] NOT NULL DEFAULT '{}',
    ADD COLUMN trusted_until      timestamptz,
    ADD CONSTRAINT former_sessions_are_few CHECK (cardinality(former_sessions) <= 50);

-- Every batch that was leased in the last weeks: whose it was, and of which builds (null where it was leased before this table), so
-- that a result which comes late can be told from one that was never asked for.
CREATE TABLE lease (
    lease_id   uuid PRIMARY KEY,
    builder_id integer NOT NULL REFERENCES builder,
    leased_at  timestamptz NOT NULL DEFAULT now(),
    builds     bigint[]
);
CREATE INDEX lease_leased ON lease (leased_at);
INSERT INTO lease (lease_id, builder_id)
SELECT lease_id, builder_id FROM queue WHERE lease_id IS NOT NULL
UNION
SELECT lease_id, builder_id FROM attempt WHERE recorded_at > now() - interval '7 days';

-- What a builder did that an operator should know of. The same deed within an hour is counted on one row.
CREATE TABLE incident (
    incident_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    builder_id  integer NOT NULL REFERENCES builder,
    at          timestamptz NOT NULL DEFAULT now(),
    last_at     timestamptz NOT NULL DEFAULT now(),
    times       integer NOT NULL DEFAULT 1,
    what        text NOT NULL
);
CREATE INDEX incident_builder ON incident (builder_id, at);
CREATE INDEX incident_last ON incident (last_at);

-- log_size is that of the compressed log in the builder's outbox, in bytes; null where none is there. log_stored_at is when the
-- index host had it.
ALTER TABLE attempt
    ADD COLUMN log_size      bigint,
    ADD COLUMN log_stored_at timestamptz;
CREATE INDEX attempt_log_awaiting ON attempt (builder_id) WHERE log_size IS NOT NULL AND log_stored_at IS NULL;

-- The view of this name says which wheels may be published (functions/awaiting.sql).
ALTER INDEX wheel_awaiting RENAME TO wheel_unpublished;
