"""Each database role can do its part and nothing else: every statement it must not make is refused by PostgreSQL itself."""

import pytest

from piwheels_builder.errors import DatabaseRefused
from tests.support.fleet import Fleet

RECORD = "SELECT record_attempt(gen_random_uuid(), 1, 'killed', now(), 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
LEASE = "SELECT * FROM lease_batch('pi1', 60, 10, '1 hour')"
PUBLISH = "SELECT publish_wheel(1, NULL, NULL, NULL, NULL, NULL, NULL, '{}')"
TABLES = (
    *("project", "release", "upstream_file", "build", "queue", "attempt", "wheel", "builder", "page_due", "opt_out"),
    *("builder_health", "dispatch_pause", "memory_limit"),
)
FAILURES = "SELECT * FROM failed_builds(NULL, NULL, NULL, NULL, NULL, NULL)"
REQUEUE = "SELECT requeue_failures('why', NULL, NULL, NULL, NULL, NULL, NULL)"

MAY = [
    ("piwheels_dispatcher", LEASE),
    ("piwheels_dispatcher", "SELECT reclaim_leases('1 hour')"),
    ("piwheels_dispatcher", "INSERT INTO opt_out (project, reason) VALUES ('demo', 'asked')"),
    ("piwheels_dispatcher", FAILURES),
    ("piwheels_dispatcher", REQUEUE),
    ("piwheels_dispatcher", "SELECT * FROM trip_breaker()"),
    ("piwheels_reader", FAILURES),
    ("builder_pi1", RECORD),
    ("builder_pi1", "SELECT heartbeat('{}', '{}', '1 hour')"),
    ("builder_pi1", "SELECT * FROM settled('{}', '{}')"),
    ("piwheels_publisher", PUBLISH),
    ("piwheels_publisher", "SELECT page_written(1, 1)"),
    *(("piwheels_reader", f"SELECT * FROM {table}") for table in TABLES),
]
MUST_NOT = [
    *(("builder_pi1", f"SELECT * FROM {table}") for table in TABLES),
    ("builder_pi1", "SELECT * FROM builder_load"),
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
    with pytest.raises(DatabaseRefused, match=r"permission denied|must be able to|must be member"):
        fleet.ask(statement, role=role)


def test_a_retired_builder_may_do_nothing(fleet: Fleet) -> None:
    fleet.ask("UPDATE builder SET standing = 'retired'")
    with pytest.raises(DatabaseRefused, match="not a builder of this fleet"):
        fleet.ask(RECORD, role="builder_pi1")


@pytest.mark.parametrize("name", ["", "Pi", "pi 1", "pi;drop", "-pi", "p" * 60, "pi\n"])
def test_a_builders_name_must_be_one(fleet: Fleet, name: str) -> None:
    with pytest.raises(DatabaseRefused, match="cannot name a builder"):
        fleet.add_builder(name)
