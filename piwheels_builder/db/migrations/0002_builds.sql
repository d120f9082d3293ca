-- What is built for whom: targets, builders, builds and their states, the queue, attempts, wheels.

-- A supported OS release. age orders them, oldest first; glibc is the C library's version there.
CREATE TABLE os_release (
    os_release text PRIMARY KEY,
    age        smallint NOT NULL UNIQUE,
    glibc      text NOT NULL CONSTRAINT glibc_is_a_version CHECK (glibc ~ '^[0-9]+\.[0-9]+$')
);
INSERT INTO os_release VALUES ('bullseye', 11, '2.31'), ('bookworm', 12, '2.36'), ('trixie', 13, '2.41');

-- Python ABI x architecture x OS release. abi_order makes cp39 < cp311, which text does not.
CREATE TABLE target (
    target_id    smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    python       text NOT NULL,
    architecture text NOT NULL,
    os_release   text NOT NULL REFERENCES os_release,
    abi_order    smallint NOT NULL,
    wanted       boolean NOT NULL DEFAULT true,
    CONSTRAINT target_is_unique UNIQUE (python, architecture, os_release),
    CONSTRAINT target_python_is_an_abi CHECK (python ~ '^(cp|pp)[0-9]+t?$')
);

-- A builder's standing. active leases; draining finishes its spool; paused and quarantined lease nothing (a breaker, or a person,
-- said so in standing_reason); retired is history.
CREATE TYPE builder_standing AS ENUM ('active', 'draining', 'paused', 'quarantined', 'retired');

-- login is the database role the builder connects as (the name in its client certificate): its only identity here.
CREATE TABLE builder (
    builder_id      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            text NOT NULL UNIQUE,
    login           text NOT NULL UNIQUE,
    memory_class    smallint NOT NULL,
    slots           smallint NOT NULL DEFAULT 1,
    standing        builder_standing NOT NULL DEFAULT 'active',
    standing_reason text,
    last_seen_at    timestamptz,
    CONSTRAINT memory_class_is_known CHECK (memory_class BETWEEN 0 AND 2)
);
COMMENT ON COLUMN builder.memory_class IS '0: up to 1 GiB of memory, 1: up to 4 GiB, 2: more';

CREATE TABLE builder_target (
    builder_id integer NOT NULL REFERENCES builder,
    target_id  smallint NOT NULL REFERENCES target,
    PRIMARY KEY (builder_id, target_id)
);

CREATE TYPE build_state AS ENUM ('pending', 'leased', 'building', 'built', 'published', 'failed', 'skipped');

-- Every way a build may change its state, and why it would.
CREATE TABLE build_transition (
    before build_state NOT NULL,
    after  build_state NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (before, after)
);
INSERT INTO build_transition VALUES
    ('pending', 'leased', 'dispatch handed it to a builder'),
    ('leased', 'building', 'its builder says it began'),
    ('leased', 'built', 'recorded by a builder that could not say when it began'),
    ('leased', 'failed', 'recorded by a builder that could not say when it began'),
    ('leased', 'pending', 'lease reclaimed or given back, infrastructure outcome, or a larger memory class needed'),
    ('building', 'built', 'an attempt made a wheel'),
    ('building', 'failed', 'an attempt ended by the release''s own fault'),
    ('building', 'pending', 'lease reclaimed, infrastructure outcome, or a larger memory class needed'),
    ('built', 'published', 'the index host verified the wheel and serves it'),
    ('built', 'failed', 'publication refused the wheel'),
    ('built', 'pending', 'the wheel was lost with its builder''s outbox'),
    ('pending', 'skipped', 'no longer wanted, or served by another build''s wheel'),
    ('skipped', 'pending', 'wanted again'),
    ('failed', 'pending', 'rebuild asked'),
    ('published', 'pending', 'rebuild asked');

-- One release x one target, made only when wanted, kept as history. reason says why it is in its state.
CREATE TABLE build (
    build_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    release_id bigint NOT NULL REFERENCES release,
    target_id  smallint NOT NULL REFERENCES target,
    state      build_state NOT NULL DEFAULT 'pending',
    reason     text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT build_is_unique UNIQUE (release_id, target_id)
-- Every build changes its state a few times; with room on its page that touches no index.
) WITH (fillfactor = 80);

-- What is wanted and unfinished: the only table that leasing reads. A row exists exactly while its build is pending, leased or
-- building. waits_for names the sibling whose wheel may make this build needless; held says why a build is parked.
CREATE TABLE queue (
    build_id         bigint PRIMARY KEY REFERENCES build,
    target_id        smallint NOT NULL,
    memory_class     smallint NOT NULL DEFAULT 0,
    priority         smallint NOT NULL,
    estimate_seconds real NOT NULL,
    waits_for        bigint REFERENCES build,
    held             text,
    queued_at        timestamptz NOT NULL DEFAULT now(),
    not_before       timestamptz NOT NULL DEFAULT '-infinity',
    lease_id         uuid,
    builder_id       integer REFERENCES builder,
    expires_at       timestamptz,
    CONSTRAINT lease_is_whole CHECK (num_nulls(lease_id, builder_id, expires_at) IN (0, 3)),
    CONSTRAINT waiting_is_not_leased CHECK (lease_id IS NULL OR (waits_for IS NULL AND held IS NULL)),
    CONSTRAINT estimate_is_positive CHECK (estimate_seconds > 0)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
COMMENT ON COLUMN queue.priority IS '0: forced by the operator, 1: newest release of its project, 2: back catalogue';

-- Leasing walks this in order and stops: longest first inside a priority.
CREATE INDEX queue_leasable ON queue (target_id, memory_class, priority, estimate_seconds DESC, build_id)
    WHERE lease_id IS NULL AND waits_for IS NULL AND held IS NULL;
CREATE INDEX queue_expiry ON queue (expires_at) WHERE lease_id IS NOT NULL;
CREATE INDEX queue_builder ON queue (builder_id) WHERE lease_id IS NOT NULL;
CREATE INDEX queue_waiting ON queue (waits_for) WHERE waits_for IS NOT NULL;

-- Whose fault an outcome is decides what follows: nothing more, the build fails, it goes to a larger memory class, it is tried again.
CREATE TYPE blame AS ENUM ('none', 'release', 'memory', 'infrastructure');
CREATE TYPE outcome AS ENUM (
    'built',
    'version_mismatch', 'requirement_unavailable', 'requirement_without_wheel', 'import_error', 'python2_only',
    'python_api_gone', 'compile_error', 'missing_header', 'missing_program', 'needs_network', 'prompted', 'timeout', 'stalled',
    'log_flood', 'no_wheel_made', 'bad_wheel', 'bad_sdist', 'deliberate_refusal', 'build_error',
    'out_of_memory',
    'disk_full', 'killed', 'lease_lost', 'network_away', 'sdist_unavailable', 'builder_fault'
);
CREATE TABLE outcome_meaning (
    outcome outcome PRIMARY KEY,
    blame   blame NOT NULL,
    meaning text NOT NULL
);
INSERT INTO outcome_meaning VALUES
    ('built', 'none', 'a wheel that passed every check'),
    ('version_mismatch', 'release', 'the wheel is of another project or version than the release'),
    ('requirement_unavailable', 'release', 'no version of a build requirement matches'),
    ('requirement_without_wheel', 'release', 'a build requirement exists only as an sdist'),
    ('import_error', 'release', 'the build imports a module that is not there'),
    ('python2_only', 'release', 'the source is Python 2'),
    ('python_api_gone', 'release', 'the source uses an API that this Python or its tools no longer have'),
    ('compile_error', 'release', 'the compiler or linker refused the source'),
    ('missing_header', 'release', 'a C header or library that the toolchain lacks'),
    ('missing_program', 'release', 'a program that the toolchain lacks'),
    ('needs_network', 'release', 'the build tried to reach the network'),
    ('prompted', 'release', 'the build asked a person a question'),
    ('timeout', 'release', 'killed at the time limit'),
    ('stalled', 'release', 'killed after a long time without CPU and output'),
    ('log_flood', 'release', 'killed at the output limit'),
    ('no_wheel_made', 'release', 'the backend ended without an error and without exactly one wheel'),
    ('bad_wheel', 'release', 'the wheel is not a valid wheel for its target'),
    ('bad_sdist', 'release', 'the sdist cannot be unpacked safely, or holds no project'),
    ('deliberate_refusal', 'release', 'the project refuses to be built here, and says so'),
    ('build_error', 'release', 'the backend failed; no finer class fits'),
    ('out_of_memory', 'memory', 'killed at the memory limit'),
    ('disk_full', 'infrastructure', 'the builder''s disk was full'),
    ('killed', 'infrastructure', 'the builder died or lost power during the build'),
    ('lease_lost', 'infrastructure', 'the lease was taken back before the build began'),
    ('network_away', 'infrastructure', 'upstream could not be reached'),
    ('sdist_unavailable', 'infrastructure', 'upstream no longer serves the sdist, or serves other bytes than it listed'),
    ('builder_fault', 'infrastructure', 'an error in the builder itself');

-- One try of a build by a builder: exactly one outcome, once per lease. error_line and log_tail are the release's own words.
CREATE TABLE attempt (
    attempt_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    build_id    bigint NOT NULL REFERENCES build,
    lease_id    uuid NOT NULL,
    builder_id  integer NOT NULL REFERENCES builder,
    outcome     outcome NOT NULL,
    started_at  timestamptz NOT NULL,
    seconds     real NOT NULL,
    peak_memory bigint,
    error_line  text,
    log_tail    text,
    toolchain   text,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT attempt_ends_once UNIQUE (build_id, lease_id),
    CONSTRAINT attempt_took_time CHECK (seconds >= 0)
);

-- A wheel as its builder recorded it, then as the index host found it. published, refused and lost exclude each other; a
-- withdrawn wheel was published, and its file stays at its URL.
CREATE TABLE wheel (
    wheel_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    build_id        bigint NOT NULL REFERENCES build,
    attempt_id      bigint NOT NULL UNIQUE REFERENCES attempt,
    filename        text NOT NULL,
    sha256          text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    size            bigint NOT NULL CHECK (size > 0),
    requires_python text,
    metadata_sha256 text CHECK (metadata_sha256 ~ '^[0-9a-f]{64}$'),
    glibc_floor     text,
    published_at    timestamptz,
    withdrawn_at    timestamptz,
    withdrawn_reason text,
    refused_reason  text,
    lost_at         timestamptz,
    CONSTRAINT wheel_has_one_end CHECK (num_nonnulls(published_at, refused_reason, lost_at) <= 1),
    CONSTRAINT only_published_wheels_are_withdrawn CHECK (withdrawn_at IS NULL OR published_at IS NOT NULL)
);
-- A published filename never changes its bytes.
CREATE UNIQUE INDEX published_filename_is_unique ON wheel (filename) WHERE published_at IS NOT NULL;
CREATE INDEX wheel_awaiting ON wheel (build_id) WHERE published_at IS NULL AND refused_reason IS NULL AND lost_at IS NULL;
CREATE INDEX wheel_build ON wheel (build_id);

-- Projects whose pages no longer say what the database says. A row is written with the change and removed once the page is on
-- disk, unless changes says that more has changed since that page was read.
CREATE TABLE page_due (
    project_id integer PRIMARY KEY REFERENCES project,
    changes    bigint NOT NULL DEFAULT 1
);

-- What a run or a report asks for: attempts and builds since a moment.
CREATE INDEX attempt_recorded ON attempt (recorded_at);
