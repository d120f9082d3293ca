-- Builders differ in speed: what a build takes is expected in seconds of a Pi 4, and each builder's share is as large as it is fast.

-- Functions and a view whose arguments or columns change are made again after this.
DROP FUNCTION IF EXISTS register_builder(text, integer, integer, smallint[], numeric, text[], text);
DROP FUNCTION IF EXISTS lease_batch(text, real, integer, interval);
DROP FUNCTION IF EXISTS next_builds(builder, real, integer, bigint[]);

-- How many times as long as on a Pi 4 a build takes. Until provision.yml says so of a slower model, none is known to be.
ALTER TABLE builder ADD COLUMN slowness real NOT NULL DEFAULT 1 CONSTRAINT slowness_is_sane CHECK (slowness BETWEEN 0.01 AND 100);
