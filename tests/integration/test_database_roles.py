"""Each database role can do its part and nothing else: every statement it must not make is refused by PostgreSQL itself."""

from contextlib import ExitStack

import pytest

from piwheels_builder.db.connect import connected
from piwheels_builder.db.embedded import EmbeddedDatabase, create_roles_and_database
from piwheels_builder.db.migrate import migrate
from piwheels_builder.errors import DatabaseAway, DatabaseRefused
from tests.support.database import empty_database
from tests.support.fleet import Fleet

RECORD = "SELECT record_attempt(gen_random_uuid(), 1, 'killed', now(), 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
LEASE = "SELECT * FROM lease_batch('pi1', 60, 10, '1 hour')"
PUBLISH = "SELECT publish_wheel(1, NULL, NULL, NULL, NULL, NULL, NULL, '{}')"
TWIN = "SELECT publish_twin(1, 'demo-1.0-py3-none-any.whl', repeat('0', 64), 1)"
TABLES = (
    *("project", "release", "upstream_file", "build", "queue", "attempt", "wheel", "builder", "page_due", "opt_out"),
    *(
        "builder_health",
        "dispatch_pause",
        "memory_limit",
        "lease",
        "incident",
        "hosted_pi",
        "demand",
        "statistic",
        "statistic_change",
    ),
)
VIEWS = ("wheel_awaiting", "log_awaiting", "builder_load", "statistics")
SUSPECT = "SELECT suspect_builder('pi1', 'what', true)"
DISTRUST = "SELECT * FROM distrust_builder('pi1', now(), 'why', true)"
LOG_STORED = "SELECT log_stored(1, NULL)"
RETIRE = "SELECT retire_builder('pi1', 'why')"
#: Called by other functions only.
INNER = (
    "SELECT quarantine_builder(1, 'why')",
    "SELECT note_incident(1, 'what')",
    "SELECT take_back_leases(1, 'why')",
    "SELECT build_again('{1}', 'why')",
    "SELECT lose_wheels_of(1, now())",
    "SELECT failures_of(1, now())",
    "SELECT my_builder()",
    "SELECT is_one_host(NULL::builder, NULL)",
    "SELECT answer_without_lease(NULL::builder, NULL, NULL)",
    "SELECT may_be_wheel_of(1, 'x')",
    "SELECT possible_bytes(1)",
    "SELECT want_targets()",
    "SELECT fold_statistics()",
    "SELECT recount_statistics()",
    "SELECT unfinished(1)",
    "SELECT admit_login('builder_pi1')",
    "SELECT told_of_builder('pi1')",
    "SELECT end_long_sessions('1 hour')",
    "SELECT compare_hosted_pis('wheels-', '[]', now())",
    "SELECT * FROM plan_hosted_pis('wheels-', 1, '{}', '[]', now(), '{}')",
    "SELECT * FROM choose_leaving_hosted_pis('wheels-', 0, '[]', now())",
    "SELECT settle_hosted_pi('wheels-01', NULL)",
    "SELECT count_power_cycle('wheels-01')",
    "SELECT * FROM mind_silent_hosted_pis('wheels-', '1 hour', 2)",
)
FAILURES = "SELECT * FROM failed_builds(NULL, NULL, NULL, NULL, NULL, NULL)"
REQUEUE = "SELECT requeue_failures('why', NULL, NULL, NULL, NULL, NULL, NULL)"

MAY = [
    ("piwheels_dispatcher", LEASE),
    ("piwheels_dispatcher", "SELECT reclaim_leases('1 hour')"),
    ("piwheels_dispatcher", "INSERT INTO opt_out (project, reason) VALUES ('demo', 'asked')"),
    ("piwheels_dispatcher", FAILURES),
    ("piwheels_dispatcher", REQUEUE),
    ("piwheels_dispatcher", "SELECT note_demand('demo', '', 1), drop_demand('demo', '')"),
    ("piwheels_dispatcher", "SELECT * FROM want_builds('{}', '{}', '{}', '{}', '{}')"),
    ("piwheels_dispatcher", "SELECT want_first_builds('{}', '{}', '{}', '{}', '{}')"),
    ("piwheels_dispatcher", "SELECT end_delays()"),
    ("piwheels_dispatcher", "UPDATE target SET swept_to = 0"),
    ("piwheels_dispatcher", "SELECT * FROM trip_breaker()"),
    ("piwheels_reader", FAILURES),
    ("builder_pi1", RECORD),
    ("builder_pi1", "SELECT heartbeat('{}', '{}', '1 hour')"),
    ("builder_pi1", "SELECT heartbeat('{}', '{}', '1 hour', true, gen_random_uuid())"),
    ("builder_pi1", "SELECT heartbeat('{}', '{}', '1 hour', true, gen_random_uuid(), 61.8, 1, 2, 3, true, false)"),
    ("builder_pi1", "SELECT * FROM settled('{}', '{}')"),
    ("piwheels_publisher", SUSPECT),
    ("piwheels_publisher", DISTRUST),
    ("piwheels_publisher", LOG_STORED),
    *(
        (role, f"SELECT * FROM {view}")
        for role in ("piwheels_dispatcher", "piwheels_publisher")
        for view in ("wheel_awaiting", "log_awaiting")
    ),
    ("piwheels_owner", "SELECT register_builder('pi1', 2, 1, '{1}', 77, '{ssh-ed25519 AAAA}', '192.0.2.1')"),
    ("piwheels_owner", RETIRE),
    ("piwheels_publisher", PUBLISH),
    ("piwheels_publisher", "SELECT pages_written(ARRAY[1], ARRAY[1::bigint])"),
    ("piwheels_publisher", TWIN),
    *(("piwheels_reader", f"SELECT * FROM {table}") for table in (*TABLES, *VIEWS)),
]
MUST_NOT = [
    *(("builder_pi1", f"SELECT * FROM {table}") for table in (*TABLES, *VIEWS)),
    *((role, RETIRE) for role in ("builder_pi1", "piwheels_dispatcher", "piwheels_publisher", "piwheels_reader")),
    *(
        (role, statement)
        for role in ("builder_pi1", "piwheels_dispatcher", "piwheels_reader")
        for statement in (SUSPECT, DISTRUST, LOG_STORED)
    ),
    *((role, statement) for role in ("builder_pi1", "piwheels_dispatcher", "piwheels_publisher") for statement in INNER),
    ("builder_pi1", "SELECT resume_dispatch('pi1')"),
    ("builder_pi1", "ALTER ROLE builder_pi1 CONNECTION LIMIT 90"),
    ("builder_pi1", "SELECT pg_advisory_lock(28791, 1)"),
    ("builder_pi1", "SELECT pg_try_advisory_xact_lock_shared(1)"),
    ("builder_pi1", "SELECT lo_from_bytea(0, 'much')"),
    ("builder_pi1", FAILURES),
    ("builder_pi1", REQUEUE),
    ("builder_pi1", "SELECT pause_dispatch('pi2', 'mine')"),
    ("builder_pi1", "SELECT note_health(1, 1::smallint, 1, 'built', 'none', false)"),
    ("piwheels_dispatcher", "DELETE FROM dispatch_pause"),
    ("piwheels_publisher", "SELECT resume_dispatch(NULL)"),
    ("piwheels_reader", REQUEUE),
    ("builder_pi1", LEASE),
    ("builder_pi1", PUBLISH),
    ("builder_pi1", "SELECT release_lease(gen_random_uuid(), 'mine')"),
    ("builder_pi1", "SELECT retry_build(1, 'killed', true)"),
    ("builder_pi1", "SELECT register_builder('evil', 2, 1, '{}')"),
    ("builder_pi1", "SET ROLE piwheels_owner"),
    ("builder_pi1", "CREATE TABLE mine (x int)"),
    ("builder_pi1", "CREATE FUNCTION now_() RETURNS int LANGUAGE sql AS 'SELECT 1'"),
    ("piwheels_dispatcher", RECORD),
    ("piwheels_dispatcher", PUBLISH),
    ("piwheels_dispatcher", TWIN),
    ("builder_pi1", TWIN),
    ("piwheels_dispatcher", "SELECT refuse_wheel(1, 'no')"),
    ("piwheels_dispatcher", "UPDATE build SET state = 'published'"),
    ("piwheels_dispatcher", "DELETE FROM queue"),
    ("piwheels_dispatcher", "DELETE FROM project"),
    ("piwheels_dispatcher", "UPDATE builder SET standing = 'active'"),
    ("piwheels_publisher", LEASE),
    ("piwheels_publisher", RECORD),
    ("piwheels_publisher", "SELECT want_build(1, 1::smallint, 1, 1::real)"),
    ("piwheels_publisher", "UPDATE wheel SET sha256 = repeat('0', 64)"),
    ("piwheels_publisher", "UPDATE upstream_file SET yanked = false"),
    ("piwheels_publisher", "DELETE FROM attempt"),
    ("piwheels_reader", LEASE),
    ("piwheels_reader", RECORD),
    ("piwheels_reader", PUBLISH),
    *(("piwheels_reader", f"DELETE FROM {table}") for table in TABLES),
]


@pytest.mark.parametrize(("role", "statement"), MAY)
def test_a_role_does_its_part(fleet: Fleet, role: str, statement: str) -> None:
    fleet.ask(statement, role=role)


@pytest.mark.parametrize(("role", "statement"), MUST_NOT)
def test_a_role_does_nothing_else(fleet: Fleet, role: str, statement: str) -> None:
    with pytest.raises(DatabaseRefused, match=r"permission denied|must be able to|must be member|must be owner"):
        fleet.ask(statement, role=role)


def test_a_retired_builder_may_do_nothing(fleet: Fleet) -> None:
    fleet.ask("UPDATE builder SET standing = 'retired'")
    with pytest.raises(DatabaseRefused, match="not a builder of this fleet"):
        fleet.ask(RECORD, role="builder_pi1")
    fleet.add_builder("pi1")
    fleet.ask(RETIRE)
    with pytest.raises(DatabaseAway, match="not permitted to log in"):
        fleet.ask(RECORD, role="builder_pi1")


def test_a_builder_connects_four_times_at_once_and_no_more(fleet: Fleet) -> None:
    with ExitStack() as open_connections:
        for _ in range(4):
            open_connections.enter_context(connected(fleet.database.conninfo("builder_pi1")))
        with pytest.raises(DatabaseAway, match="too many connections"):
            fleet.ask(RECORD, role="builder_pi1")


def test_a_builders_statement_ends_after_a_minute(fleet: Fleet) -> None:
    assert fleet.ask("SHOW statement_timeout", role="builder_pi1") == [("1min",)]
    assert fleet.ask("SHOW statement_timeout", role="piwheels_publisher") == [("0",)]


def test_a_login_that_was_altered_is_put_right(fleet: Fleet) -> None:
    again = "SELECT register_builder('pi1', 2, 1, array_agg(target_id)) FROM builder_target"
    assert fleet.ask(again) == [(False,)]
    for altered in ("CONNECTION LIMIT 90", "SET statement_timeout = 0", "SET work_mem = '1GB'", "NOLOGIN"):
        fleet.ask(f"ALTER ROLE builder_pi1 {altered}")
        assert [fleet.ask(again) for _ in range(2)] == [[(True,)], [(False,)]]
    assert fleet.ask("SHOW statement_timeout", role="builder_pi1") == [("1min",)]


def test_a_login_that_a_superuser_made_is_the_owners_after_the_next_provisioning(fleet: Fleet) -> None:
    """As after an upgrade of the cluster, or a restore: from PostgreSQL 16 on only who made a role may alter it."""
    with connected(fleet.database.superuser_conninfo(), autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE ROLE builder_restored LOGIN IN ROLE piwheels_builder")
    create_roles_and_database(fleet.database)
    fleet.add_builder("restored")
    assert fleet.ask("SHOW statement_timeout", role="builder_restored") == [("1min",)]
    with pytest.raises(DatabaseRefused, match="permission denied"):
        fleet.ask("SET ROLE builder_restored")


def test_nobody_fills_the_disk_with_temporary_tables(database_server: EmbeddedDatabase) -> None:
    with empty_database(database_server) as database:
        fleet = Fleet(database)
        with connected(database.conninfo("piwheels_owner")) as connection:
            migrate(connection)
        fleet.add_builder("pi1")
        with pytest.raises(DatabaseRefused, match="permission denied to create temporary tables"):
            fleet.ask("CREATE TEMPORARY TABLE mine (x int)", role="builder_pi1")


def test_a_pinned_builder_is_believed_with_its_certificate_only(fleet: Fleet) -> None:
    fleet.ask("UPDATE builder SET certificate_serial = 77")
    with pytest.raises(DatabaseRefused, match="not the one that is pinned for pi1"):
        fleet.ask(RECORD, role="builder_pi1")


@pytest.mark.parametrize("name", ["", "Pi", "pi 1", "pi;drop", "-pi", "p" * 60, "pi\n"])
def test_a_builders_name_must_be_one(fleet: Fleet, name: str) -> None:
    with pytest.raises(DatabaseRefused, match="cannot name a builder"):
        fleet.add_builder(name)
