-- A verified wheel is in the tree: serve it from now on, under the filename, hash and size given (a build tag changes all three).
-- served are the targets, besides its own, that it serves as well: their waiting builds end here, the others start. False where
-- somebody published or refused it meanwhile, or its builder was quarantined.
CREATE OR REPLACE FUNCTION publish_wheel(
    its_wheel bigint, its_filename text, its_sha256 text, its_size bigint,
    its_requires_python text, its_metadata_sha256 text, its_glibc_floor text, served smallint[]
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    mine    wheel;
    sibling bigint;
BEGIN
    UPDATE wheel
    SET published_at = now(), filename = its_filename, sha256 = its_sha256, size = its_size,
        requires_python = its_requires_python, metadata_sha256 = its_metadata_sha256, glibc_floor = its_glibc_floor
    WHERE wheel_id = its_wheel AND published_at IS NULL AND refused_reason IS NULL AND lost_at IS NULL
      AND EXISTS (SELECT FROM wheel_awaiting WHERE wheel_id = its_wheel)
    RETURNING * INTO mine;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE build SET state = 'published', reason = 'serves ' || mine.filename WHERE build_id = mine.build_id;
    PERFORM page_changed(release.project_id) FROM build JOIN release USING (release_id) WHERE build.build_id = mine.build_id;
    FOR sibling IN
        DELETE FROM queue USING build AS other, build AS made
        WHERE made.build_id = mine.build_id AND other.release_id = made.release_id AND other.target_id = ANY (served)
          AND queue.build_id = other.build_id AND queue.lease_id IS NULL
        RETURNING queue.build_id
    LOOP
        UPDATE build SET state = 'skipped', reason = 'served by ' || mine.filename WHERE build_id = sibling;
        PERFORM wake_siblings(sibling);
    END LOOP;
    PERFORM wake_siblings(mine.build_id);
    RETURN true;
END $$;

-- The shared libraries that the index host found this wheel to need; of what its builder said, only their packages are kept, where
-- they can be names of packages (Debian Policy 5.6.1).
CREATE OR REPLACE FUNCTION note_libraries(its_wheel bigint, names text[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE wheel SET libraries = (
        SELECT coalesce(jsonb_object_agg(name, CASE WHEN libraries ->> name ~ '^[a-z0-9][a-z0-9+.-]{1,100}$' THEN libraries ->> name END), '{}')
        FROM unnest(names) AS name)
    WHERE wheel_id = its_wheel AND published_at IS NULL
$$;

-- This wheel is, byte for byte, one that is published already: its build is, too. The row goes, since a published filename has one
-- wheel; the attempt stays. False as with publish_wheel.
CREATE OR REPLACE FUNCTION adopt_wheel(its_wheel bigint, published_filename text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    its_build bigint;
BEGIN
    DELETE FROM wheel
    WHERE wheel_id = its_wheel AND published_at IS NULL AND refused_reason IS NULL AND lost_at IS NULL
      AND EXISTS (SELECT FROM wheel_awaiting WHERE wheel_id = its_wheel)
    RETURNING build_id INTO its_build;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE build SET state = 'published', reason = 'serves ' || published_filename WHERE build_id = its_build;
    PERFORM wake_siblings(its_build);
    RETURN true;
END $$;

-- The index host does not believe this wheel: its build has failed, and whoever waited for it starts.
CREATE OR REPLACE FUNCTION refuse_wheel(its_wheel bigint, why text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    its_build bigint;
BEGIN
    UPDATE wheel SET refused_reason = why
    WHERE wheel_id = its_wheel AND published_at IS NULL AND refused_reason IS NULL AND lost_at IS NULL
    RETURNING build_id INTO its_build;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE build SET state = 'failed', reason = 'publication refused the wheel: ' || why WHERE build_id = its_build;
    PERFORM wake_siblings(its_build);
    RETURN true;
END $$;

-- The wheel was lost from its builder's outbox, or damaged, before it could be published: build it again. The third time within a
-- week the build is parked, since a disk that damages wheels would keep its builder busy for ever.
CREATE OR REPLACE FUNCTION lose_wheel(its_wheel bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    its_build bigint;
BEGIN
    UPDATE wheel SET lost_at = now()
    WHERE wheel_id = its_wheel AND published_at IS NULL AND refused_reason IS NULL AND lost_at IS NULL
    RETURNING build_id INTO its_build;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE build SET state = 'pending', reason = 'its wheel was lost or damaged before it could be published' WHERE build_id = its_build;
    PERFORM enqueue(its_build, 1, 60);
    UPDATE queue SET held = format('its wheel was lost or damaged %s times before it could be published', losses)
    FROM (SELECT count(*) AS losses FROM wheel WHERE build_id = its_build AND lost_at > now() - interval '7 days') AS past
    WHERE queue.build_id = its_build AND losses >= 3;
    RETURN true;
END $$;

-- Take a published wheel off its pages; its file stays at its URL.
CREATE OR REPLACE FUNCTION withdraw_wheel(its_wheel bigint, why text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE wheel SET withdrawn_at = now(), withdrawn_reason = why
    WHERE wheel_id = its_wheel AND published_at IS NOT NULL AND withdrawn_at IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM page_changed(release.project_id)
    FROM wheel JOIN build USING (build_id) JOIN release USING (release_id) WHERE wheel_id = its_wheel;
    RETURN true;
END $$;

-- Something that stands on a project's page has changed.
CREATE OR REPLACE FUNCTION page_changed(its_project integer) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO page_due (project_id) VALUES (its_project)
    ON CONFLICT (project_id) DO UPDATE SET changes = page_due.changes + 1
$$;

-- Every page that we have or may have is due: those of projects with published wheels, of those that the operator said
-- something of, and of those named. Reads all wheels.
CREATE OR REPLACE FUNCTION make_pages_due(names text[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO page_due (project_id)
    SELECT DISTINCT release.project_id
    FROM wheel JOIN build USING (build_id) JOIN release USING (release_id)
    WHERE wheel.published_at IS NOT NULL
    UNION
    SELECT project_id FROM project WHERE name = ANY (names)
    UNION
    SELECT project_id FROM page_instruction JOIN project ON project.name = page_instruction.project
    ORDER BY project_id
    ON CONFLICT DO NOTHING
$$;

-- Pages of these projects are about to come to be, or to go: the listings are to be written again once they are booked.
CREATE OR REPLACE FUNCTION pages_come_or_go(projects integer[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO page_due (project_id, comes_or_goes) SELECT unnest(projects), true ORDER BY 1
    ON CONFLICT (project_id) DO UPDATE SET comes_or_goes = true
$$;

-- The pages are on disk as they were read when page_due said these changes: nothing more is due unless something changed since.
CREATE OR REPLACE FUNCTION pages_written(projects integer[], seen_changes bigint[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH booked AS (
        DELETE FROM page_due USING unnest(projects, seen_changes) AS seen (project_id, changes)
        WHERE page_due.project_id = seen.project_id AND page_due.changes = seen.changes
        RETURNING comes_or_goes
    )
    UPDATE listing SET changes = changes + 1 WHERE EXISTS (SELECT FROM booked WHERE comes_or_goes)
$$;

-- The listings on disk have so many names, and know of all that came or went when listing said these changes.
CREATE OR REPLACE FUNCTION listings_written(seen_changes bigint, its_names integer) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE listing SET written = seen_changes, written_at = now(), names = its_names WHERE written <= seen_changes
$$;
