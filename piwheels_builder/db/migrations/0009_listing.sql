-- Publishing at full size: listings that are not written for each page, and wheels that moved to a colder disk.

-- Whether the page that is due comes to be or goes, so that the listings change with it.
ALTER TABLE page_due ADD COLUMN comes_or_goes boolean NOT NULL DEFAULT false;

-- The listings of all projects, a single row. changes counts how often pages came or went, written says how many of those the
-- listings on disk know, since when, and how many names they had.
CREATE TABLE listing (
    only_one   boolean PRIMARY KEY DEFAULT true,
    changes    bigint NOT NULL DEFAULT 1,
    written    bigint NOT NULL DEFAULT 0,
    written_at timestamptz NOT NULL DEFAULT '-infinity',
    names      integer NOT NULL DEFAULT 0,
    CONSTRAINT listing_is_one_row CHECK (only_one)
);
INSERT INTO listing DEFAULT VALUES;

-- When the file of a wheel was moved to a colder disk; null: it lies in the published tree itself. Its URL is the same.
ALTER TABLE wheel ADD COLUMN moved_at timestamptz;

-- It takes many pages at once from now on (functions/publish.sql).
DROP FUNCTION IF EXISTS page_written(integer, bigint);
