"""A target that is added gets what it needs of the whole catalogue: piece by piece, from where the last sweep stopped."""

from collections.abc import Iterator

import pytest

from piwheels_builder.catalogue import sweep as sweeping
from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.catalogue.sweep import Swept, sweep, sweep_again
from piwheels_builder.db.connect import Connection, connected
from tests.support.fleet import ARM64, BOOKWORM, TRIXIE, Fleet

EVERYTHING = Policy(choices=None, newest=None)


@pytest.fixture
def connection(fleet: Fleet) -> Iterator[Connection]:
    with connected(fleet.database.conninfo("piwheels_dispatcher")) as connection:
        yield connection


@pytest.fixture
def swept(fleet: Fleet, connection: Connection) -> Fleet:
    """Five projects, all of them queued for bookworm by a sync; that target was looked through."""
    for number in range(5):
        fleet.want(f"project{number}")
    sweep(connection, EVERYTHING)
    return fleet


def queued(fleet: Fleet) -> list[tuple[str, int]]:
    return fleet.ask("SELECT os_release, count(*) FROM queue JOIN target USING (target_id) GROUP BY os_release ORDER BY os_release")


def test_nothing_is_done_where_no_target_is_new(swept: Fleet, connection: Connection) -> None:
    assert sweep(connection, EVERYTHING) == Swept(0, 0, 0)
    assert queued(swept) == [("bookworm", 5)]


def test_a_new_target_waits_for_the_leader_of_each_release(swept: Fleet, connection: Connection) -> None:
    swept.add_builder("new", TRIXIE)
    assert sweep(connection, EVERYTHING) == Swept(5, 0, 5)
    assert queued(swept) == [("bookworm", 5), ("trixie", 5)]
    assert swept.ask("SELECT count(*) FROM queue WHERE waits_for IS NOT NULL") == [(5,)]
    assert swept.ask("SELECT count(*) FROM target WHERE swept_to IS NOT NULL") == [(0,)]


def test_two_targets_at_once_have_one_leader_a_release(fleet: Fleet, connection: Connection) -> None:
    fleet.want("demo")
    fleet.ask("DELETE FROM queue")
    fleet.ask("DELETE FROM build")
    fleet.add_builder("pi1", BOOKWORM, TRIXIE)
    sweep_again(connection)
    assert sweep(connection, EVERYTHING).queued == 2
    told = fleet.ask(
        "SELECT target.os_release, leader.os_release FROM queue JOIN target USING (target_id)"
        " LEFT JOIN build AS led ON led.build_id = queue.waits_for LEFT JOIN target AS leader ON leader.target_id = led.target_id"
        " ORDER BY 1"
    )
    assert told == [("bookworm", None), ("trixie", "bookworm")]


def test_what_is_not_wanted_is_not_queued(swept: Fleet, connection: Connection) -> None:
    swept.ask("UPDATE upstream_file SET yanked = true WHERE filename LIKE 'project1%%'")
    swept.ask("UPDATE upstream_file SET requires_python = '<3.12' WHERE filename LIKE 'project2%%'")
    swept.ask("INSERT INTO opt_out (project, reason) VALUES ('project3', 'asked')")
    swept.add_builder("new", TRIXIE)
    assert sweep(connection, EVERYTHING).queued == 2


def test_what_a_siblings_wheel_serves_is_not_queued(swept: Fleet, connection: Connection) -> None:
    (row,) = [row for row in swept.lease_all("pi1") if row["project"] == "project0"]
    swept.record("pi1", row["lease_id"], row["build_id"])
    swept.publish(1)
    swept.add_builder("new", TRIXIE)
    assert sweep(connection, EVERYTHING).queued == 4


def test_an_interrupted_sweep_goes_on_where_it_stopped(
    swept: Fleet, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "CHUNK", 2)
    swept.add_builder("new", TRIXIE)

    class PowerCut(Exception):
        pass

    def cut(_: Swept) -> None:
        raise PowerCut

    with pytest.raises(PowerCut):
        sweep(connection, EVERYTHING, told=cut)
    connection.rollback()
    assert queued(swept) == [("bookworm", 5), ("trixie", 2)]
    # Another one that is added meanwhile catches up before they go on together.
    swept.add_builder("other", ARM64)
    assert sweep(connection, EVERYTHING, seconds=0).queued == 2
    assert sweep(connection, EVERYTHING).queued == 6
    assert queued(swept) == [("bookworm", 10), ("trixie", 5)]


def test_a_target_that_is_wanted_again_is_looked_through_again(swept: Fleet, connection: Connection) -> None:
    swept.add_builder("pi2", TRIXIE)
    sweep(connection, EVERYTHING)
    swept.ask("SELECT retire_builder('pi2', 'test')")
    swept.want("meanwhile")
    assert sweep(connection, EVERYTHING) == Swept(0, 0, 0)
    swept.add_builder("pi2", TRIXIE)
    assert sweep(connection, EVERYTHING).queued == 1


def test_a_policy_that_wants_more_is_followed_when_told(swept: Fleet, connection: Connection) -> None:
    swept.want("old")
    swept.ask("SELECT skip_build(build_id, 'deep') FROM build ORDER BY build_id DESC LIMIT 1")
    assert sweep(connection, EVERYTHING).queued == 0
    sweep_again(connection)
    assert sweep(connection, EVERYTHING).queued == 1


def test_nobody_waits_for_a_leader_that_ended_meanwhile(fleet: Fleet) -> None:
    leader = fleet.want("demo")
    (row,) = fleet.lease_all("pi1")
    fleet.record("pi1", row["lease_id"], leader)
    fleet.add_builder("pi1", BOOKWORM, TRIXIE, ARM64)
    assert (fleet.queued(fleet.want("demo", TRIXIE, leader=leader)) or {})["waits_for"] == leader
    fleet.publish(1, TRIXIE)
    # A sync that read the leader's state before this commit still names it.
    assert (fleet.queued(fleet.want("demo", ARM64, leader=leader)) or {})["waits_for"] is None
