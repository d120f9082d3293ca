-- Publishing at full size: pages are booked many at a time, and listings are not written for each of them.

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

-- It takes many pages at once from now on (functions/publish.sql).
DROP FUNCTION IF EXISTS page_written(integer, bigint);
