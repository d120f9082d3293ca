-- Refuse every change of a build's state that build_transition does not name, and stamp those it does.
CREATE OR REPLACE FUNCTION check_build_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM build_transition WHERE before = OLD.state AND after = NEW.state) THEN
        RAISE EXCEPTION 'build % cannot go from % to %', OLD.build_id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'build_transition_is_known';
    END IF;
    NEW.changed_at := now();
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER build_transition_is_known BEFORE UPDATE OF state ON build
    FOR EACH ROW WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION check_build_transition();
