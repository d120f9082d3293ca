-- What each role may do, and nothing more. The owner owns everything; nobody else may define or alter anything.
REVOKE ALL ON SCHEMA public FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, piwheels_dispatcher, piwheels_builder, piwheels_publisher, piwheels_reader;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public
    FROM PUBLIC, piwheels_dispatcher, piwheels_builder, piwheels_publisher, piwheels_reader;
-- Files of the server that nobody counts are nobody's right.
DO $$ BEGIN EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database()); END $$;
GRANT USAGE ON SCHEMA public TO piwheels_dispatcher, piwheels_builder, piwheels_publisher, piwheels_reader;

-- reader: sees everything, changes nothing.
GRANT SELECT ON ALL TABLES IN SCHEMA public TO piwheels_reader;

-- dispatcher: keeps the catalogue, decides what is wanted, hands out leases. Cannot end a build or touch a wheel.
GRANT SELECT ON ALL TABLES IN SCHEMA public TO piwheels_dispatcher;
GRANT INSERT, UPDATE ON project, release TO piwheels_dispatcher;
GRANT INSERT, UPDATE, DELETE ON upstream_file, operator_instruction, opt_out, page_instruction TO piwheels_dispatcher;
GRANT INSERT, UPDATE, DELETE ON upstream_state, unfollowed_project TO piwheels_dispatcher;
GRANT UPDATE (swept_to) ON target TO piwheels_dispatcher;
GRANT EXECUTE ON FUNCTION want_build, want_builds, want_first_builds, end_delays, note_demand, drop_demand, skip_build,
    requeue_build, lease_batch, release_lease, reclaim_leases, wake_orphans, learn_estimates,
    page_changed, requeue_failures, trip_breaker, pause_dispatch, resume_dispatch, count_downloads, fold_downloads TO piwheels_dispatcher;
-- What asks, and changes nothing, runs with the caller's own rights.
GRANT EXECUTE ON FUNCTION failed_builds TO piwheels_dispatcher, piwheels_reader;
GRANT EXECUTE ON FUNCTION replicas TO piwheels_dispatcher, piwheels_reader;
GRANT EXECUTE ON FUNCTION is_trusted TO piwheels_dispatcher, piwheels_publisher, piwheels_reader;

-- builder: says that it lives and how its attempts ended. Reads no table at all.
GRANT EXECUTE ON FUNCTION heartbeat, record_attempt, settled TO piwheels_builder;

-- publisher: says what became of a wheel and a log, and which builder is not to be believed. Cannot lease, record or change the
-- catalogue.
GRANT SELECT ON ALL TABLES IN SCHEMA public TO piwheels_publisher;
GRANT EXECUTE ON FUNCTION publish_wheel, note_libraries, adopt_wheel, refuse_wheel, lose_wheel, withdraw_wheel, log_stored,
    suspect_builder, distrust_builder TO piwheels_publisher;
GRANT EXECUTE ON FUNCTION publish_twin, make_pages_due, pages_come_or_go, pages_written, listings_written
    TO piwheels_publisher;

-- What tells clients apart is nobody's to read.
REVOKE ALL ON download_key, download_seen FROM piwheels_dispatcher, piwheels_publisher, piwheels_reader;
