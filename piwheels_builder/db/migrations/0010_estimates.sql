-- Estimates: what was expected of an attempt stands beside what it took, and teaches what to expect of the builds that are left.

-- Null for attempts before this column. A column without a default is added in a moment, however many attempts there are.
ALTER TABLE attempt ADD COLUMN estimate_seconds real;

-- Up to which attempt the queue has learned (functions/learn.sql).
CREATE TABLE learned (
    one        boolean PRIMARY KEY DEFAULT true CONSTRAINT one_learned_at_most CHECK (one),
    attempt_id bigint NOT NULL
);
INSERT INTO learned (attempt_id) SELECT coalesce(max(attempt_id), 0) FROM attempt;
