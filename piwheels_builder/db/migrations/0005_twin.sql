-- Twins: a wheel that was built for armv7l and published a second time, for armv6l.

-- A twin is a wheel of the same build, made by the index host and by nobody's attempt. It is in the tree before it has a row, and it
-- is withdrawn with the wheel that it is the twin of, which has no other.
ALTER TABLE wheel
    ALTER COLUMN attempt_id DROP NOT NULL,
    ADD COLUMN twin_of bigint UNIQUE REFERENCES wheel,
    ADD CONSTRAINT only_twins_have_no_attempt CHECK ((attempt_id IS NULL) = (twin_of IS NOT NULL)),
    ADD CONSTRAINT twins_are_published CHECK (twin_of IS NULL OR published_at IS NOT NULL);
