"""What upstream's wheels save: builds that only the policy stands against, a pure wheel's once, from all projects or a sample."""

from collections.abc import Iterator

import pytest

from piwheels_builder.catalogue.policy import Choice, Policy
from piwheels_builder.catalogue.saving import Saved, saved_builds
from piwheels_builder.catalogue.wanting import guess_seconds
from piwheels_builder.db.connect import Connection, connected
from tests.support.fleet import BOOKWORM, TRIXIE, Fleet

EVERYTHING = Policy(choices=None, newest=None)


@pytest.fixture
def connection(fleet: Fleet) -> Iterator[Connection]:
    """Ten projects with an sdist each, for two targets; nothing is queued."""
    fleet.add_builder("pi1", BOOKWORM, TRIXIE)
    for number in range(10):
        fleet.want(f"demo{number}")
    fleet.ask("DELETE FROM queue")
    fleet.ask("DELETE FROM build")
    fleet.ask("UPDATE upstream_file SET size = 1000000")
    with connected(fleet.database.conninfo("piwheels_reader")) as connection:
        yield connection


def offer(fleet: Fleet, project: str, tags: str) -> None:
    fleet.ask(
        "INSERT INTO upstream_file (project_id, filename, release_id, kind, url)"
        " SELECT project_id, project.name || '-1-' || %s || '.whl', release_id, 'wheel', 'http://upstream.invalid/'"
        " FROM project JOIN release USING (project_id) WHERE name = %s",
        tags,
        project,
    )


def test_only_what_upstream_serves_is_saved_and_what_is_pure_once(fleet: Fleet, connection: Connection) -> None:
    assert saved_builds(connection, EVERYTHING) == Saved(0, 0, 10, 10)
    offer(fleet, "demo0", "py3-none-any")
    offer(fleet, "demo1", "cp311-cp311-manylinux_2_28_armv7l")
    offer(fleet, "demo2", "cp311-cp311-win_amd64")
    offer(fleet, "demo3", "py3-none-any")
    fleet.ask("INSERT INTO opt_out (project, reason) VALUES ('demo3', 'asked')")
    connection.rollback()
    assert saved_builds(connection, EVERYTHING) == Saved(2, 2 * guess_seconds(1_000_000), 10, 10)
    assert saved_builds(connection, Policy("all", None, None)) is None
    named = Policy(choices=frozenset({Choice.parse("demo1"), Choice.parse("demo2")}))
    assert saved_builds(connection, named) == Saved(1, guess_seconds(1_000_000), 2, 2)


def test_of_a_large_catalogue_a_spread_sample_is_looked_at_and_speaks_for_all(fleet: Fleet, connection: Connection) -> None:
    for number in range(10):
        offer(fleet, f"demo{number}", "py3-none-any")
    saved = saved_builds(connection, EVERYTHING, most=4)
    assert saved is not None
    assert (saved.builds, saved.projects) == (10, 10)
    assert 3 <= saved.looked_at <= 4
