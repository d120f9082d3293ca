-- What upstream offers: projects, their releases, the files of each; and what operators and maintainers said of them.

-- A project by its normalized name (PEP 503). serial and etag let the next sync ask only for what changed.
CREATE TABLE project (
    project_id  integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL,
    serial      bigint,
    etag        text,
    status      text NOT NULL DEFAULT 'active',
    status_reason text,
    synced_at   timestamptz,
    CONSTRAINT project_name_is_unique UNIQUE (name),
    CONSTRAINT project_name_is_normalized CHECK (name ~ '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$' AND name !~ '--'),
    CONSTRAINT project_status_is_known CHECK (status IN ('active', 'archived', 'quarantined', 'deprecated', 'gone'))
);

-- One version of a project. version is the canonical PEP 440 spelling (trailing zeros stripped), so 1.0 and 1.00 are one
-- release; spelling is upstream's own. newest_first is 1 for the newest release of its project, by PEP 440.
CREATE TABLE release (
    release_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   integer NOT NULL REFERENCES project,
    version      text NOT NULL,
    spelling     text NOT NULL,
    newest_first integer NOT NULL,
    CONSTRAINT release_is_unique UNIQUE (project_id, version)
);

CREATE TYPE file_kind AS ENUM ('sdist', 'wheel', 'refused');

-- An upstream file as its project page (PEP 691, PEP 700) gives it. A refused file has a name that says nothing we can use: it
-- stays on our copy of the page, and refusal says why nothing is built from it. size, upload_time and sha256 may be null
-- where an upstream does not tell them (degraded mode, docs/reference.md).
CREATE TABLE upstream_file (
    project_id      integer NOT NULL REFERENCES project,
    filename        text NOT NULL,
    release_id      bigint REFERENCES release,
    kind            file_kind NOT NULL,
    refusal         text,
    url             text NOT NULL,
    sha256          text,
    size            bigint,
    requires_python text,
    yanked          boolean NOT NULL DEFAULT false,
    yanked_reason   text,
    upload_time     timestamptz,
    metadata_sha256 text,
    provenance      text,
    CONSTRAINT upstream_file_is_unique PRIMARY KEY (project_id, filename),
    CONSTRAINT refused_file_has_a_reason CHECK ((kind = 'refused') = (refusal IS NOT NULL)),
    CONSTRAINT usable_file_has_a_release CHECK (kind = 'refused' OR release_id IS NOT NULL),
    CONSTRAINT sha256_is_hex CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT only_a_yank_has_a_yank_reason CHECK (yanked OR yanked_reason IS NULL)
);
CREATE INDEX upstream_file_release ON upstream_file (release_id);

-- The operator's word on a project (version '') or one release: skip it, or build it whatever the policy says.
CREATE TYPE instruction AS ENUM ('skip', 'force');
CREATE TABLE operator_instruction (
    project     text NOT NULL,
    version     text NOT NULL DEFAULT '',
    instruction instruction NOT NULL,
    reason      text NOT NULL,
    given_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT one_instruction_each PRIMARY KEY (project, version)
);
COMMENT ON COLUMN operator_instruction.version IS 'canonical version; the empty string means every release of the project';

-- A maintainer asked that their project is not built. Stronger than every instruction of the operator.
CREATE TABLE opt_out (
    project  text PRIMARY KEY,
    reason   text NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now()
);
