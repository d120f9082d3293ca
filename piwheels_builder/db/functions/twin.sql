-- The twin of a published wheel is in the tree, with the same metadata: serve it from now on. False where the wheel has a twin
-- already, or is not served itself.
CREATE OR REPLACE FUNCTION publish_twin(its_wheel bigint, its_filename text, its_sha256 text, its_size bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO wheel (build_id, twin_of, filename, sha256, size, requires_python, metadata_sha256, glibc_floor, published_at,
                       import_result, import_detail, libraries)
    SELECT build_id, wheel_id, its_filename, its_sha256, its_size, requires_python, metadata_sha256, glibc_floor, now(),
           import_result, import_detail, libraries
    FROM wheel
    WHERE wheel_id = its_wheel AND published_at IS NOT NULL AND withdrawn_at IS NULL AND twin_of IS NULL
    ON CONFLICT (twin_of) DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM page_changed(release.project_id)
    FROM wheel JOIN build USING (build_id) JOIN release USING (release_id) WHERE wheel_id = its_wheel;
    RETURN true;
END $$;

-- Whatever took a wheel off its pages holds for its twin as well.
CREATE OR REPLACE FUNCTION withdraw_twin() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE wheel SET withdrawn_at = NEW.withdrawn_at, withdrawn_reason = NEW.withdrawn_reason
    WHERE twin_of = NEW.wheel_id AND withdrawn_at IS NULL;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER twins_are_withdrawn_together AFTER UPDATE OF withdrawn_at ON wheel
    FOR EACH ROW WHEN (NEW.withdrawn_at IS NOT NULL AND NEW.twin_of IS NULL) EXECUTE FUNCTION withdraw_twin();
