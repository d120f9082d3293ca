-- Whether what a builder recorded at a moment is believed: of a quarantined one nothing is, unless distrust said until when it was.
CREATE OR REPLACE FUNCTION is_trusted(builder, recorded timestamptz) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT $1.standing <> 'quarantined' OR coalesce(recorded < $1.trusted_until, false)
$$;

-- Wheels to collect, verify and publish: recorded, and neither published, refused nor lost, of builders that are believed.
CREATE OR REPLACE VIEW wheel_awaiting AS
    SELECT wheel.wheel_id, wheel.build_id, wheel.attempt_id, wheel.filename, wheel.sha256, wheel.size,
           attempt.builder_id, builder.name AS builder, attempt.lease_id, attempt.recorded_at
    FROM wheel
    JOIN attempt USING (attempt_id)
    JOIN builder USING (builder_id)
    JOIN build ON build.build_id = wheel.build_id AND build.state = 'built'
    WHERE wheel.published_at IS NULL AND wheel.refused_reason IS NULL AND wheel.lost_at IS NULL
      AND is_trusted(builder, attempt.recorded_at);

-- Logs to collect: of attempts whose builder keeps one, where it is believed. size is in bytes, compressed.
CREATE OR REPLACE VIEW log_awaiting AS
    SELECT attempt.attempt_id, attempt.build_id, attempt.project_id, project.name AS project, attempt.builder_id,
           builder.name AS builder, attempt.lease_id, attempt.log_size AS size, attempt.recorded_at
    FROM attempt
    JOIN builder USING (builder_id)
    JOIN project USING (project_id)
    WHERE attempt.log_size IS NOT NULL AND attempt.log_stored_at IS NULL AND is_trusted(builder, attempt.recorded_at);

-- The log of an attempt is in the published tree under this name, or is gone from its builder (null): nothing waits for it any more.
-- The end of a log that is stored whole is given up here: of a full history it would be a third. The answer is whether anything waited.
CREATE OR REPLACE FUNCTION log_stored(its_attempt bigint, its_filename text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE attempt
    SET log_stored_at = CASE WHEN its_filename IS NOT NULL THEN now() END,
        log_size = CASE WHEN its_filename IS NOT NULL THEN log_size END,
        log_tail = CASE WHEN its_filename IS NULL THEN log_tail END
    WHERE attempt_id = its_attempt AND log_size IS NOT NULL AND log_stored_at IS NULL;
    RETURN FOUND;
END $$;
