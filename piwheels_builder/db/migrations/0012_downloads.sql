-- Downloads, counted from the index's access logs: by wheel and day, without anybody's address.

-- How far each log is counted. A log is known by the SHA-256 of its first line, whatever rotation makes of its name.
CREATE TABLE download_log (
    first_line text PRIMARY KEY,
    read_to    bigint NOT NULL,
    seen_at    timestamptz NOT NULL DEFAULT now()
);

-- What tells clients of one day apart: thrown away two days after it was made, with what was hashed with it.
CREATE TABLE download_key (
    day     date PRIMARY KEY,
    secret  bytea NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE download_seen (
    day    date REFERENCES download_key ON DELETE CASCADE,
    digest bytea,
    PRIMARY KEY (day, digest)
);

-- Downloads of a wheel: the first of each client on a day, the same again, and those of bots. Past days are folded into the first of
-- their month.
CREATE TABLE download (
    project_id integer REFERENCES project,
    wheel_id   bigint REFERENCES wheel,
    day        date,
    number     integer NOT NULL DEFAULT 0,
    repeated   integer NOT NULL DEFAULT 0,
    bots       integer NOT NULL DEFAULT 0,
    PRIMARY KEY (project_id, wheel_id, day)
);
CREATE INDEX download_by_day ON download (day);
