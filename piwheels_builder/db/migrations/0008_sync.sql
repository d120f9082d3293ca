-- Following an upstream of hundreds of thousands of projects: how far behind it the catalogue is, and what cannot be followed.

-- One row: what the last round of sync over everything that this fleet follows came to. whole: that is all of upstream, as its page of
-- all names lists it (its ETag is listing_etag), else what the operator lists. asked_at is when upstream was last asked and answered;
-- followed_at the last such moment after which nothing was left to follow: whatever upstream had then, the catalogue has. behind are
-- projects known to differ and not followed yet, held_back those of them that would lose all their files and wait for the operator's word.
CREATE TABLE upstream_state (
    only_row     boolean PRIMARY KEY DEFAULT true CONSTRAINT upstream_state_has_one_row CHECK (only_row),
    url          text NOT NULL,
    whole        boolean NOT NULL,
    listing_etag text,
    asked_at     timestamptz NOT NULL,
    followed_at  timestamptz,
    behind       integer NOT NULL,
    held_back    integer NOT NULL DEFAULT 0,
    projects     integer NOT NULL
);

-- A project of the whole upstream that could not be followed: why, since when, with which serial on the page of all names, and when it
-- is tried again; sooner where the serial changes. temporary: upstream's fault, and not the page's.
CREATE TABLE unfollowed_project (
    name         text PRIMARY KEY,
    serial       bigint,
    error        text NOT NULL,
    temporary    boolean NOT NULL,
    since        timestamptz NOT NULL DEFAULT now(),
    tries        integer NOT NULL DEFAULT 1,
    try_again_at timestamptz NOT NULL
);
