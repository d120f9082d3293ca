"""What the database remembers of hosted Pis: nothing that costs money is forgotten, and nothing is ordered twice."""

from collections.abc import Iterator
from typing import Any

import pytest

from piwheels_builder.db.connect import Connection, connected
from piwheels_builder.errors import BadInput
from piwheels_builder.queue import hosted_pis
from piwheels_builder.queue.hosted_pis import Listed
from piwheels_builder.queue.members import retire_builder
from tests.support.fleet import Fleet

PREFIX = "wheels-"
PI_4 = {"model": 4, "memory": 4096}
NAMES = [f"wheels-{number:02}" for number in range(1, 31)]


@pytest.fixture
def connection(fleet: Fleet) -> Iterator[Connection]:
    with connected(fleet.database.conninfo("piwheels_owner"), autocommit=True) as opened:
        yield opened


def seen(connection: Connection, *names: str, live: bool = True, running: bool = True) -> hosted_pis.Fleet:
    """The account as it is now."""
    time, _ = hosted_pis.look(connection, PREFIX)
    return hosted_pis.Fleet(PREFIX, [Listed(name, live, running, "model 4") for name in names], time)


def plan(connection: Connection, wanted: int, *there: str, live: bool = True) -> list[str]:
    return [pi.name for pi in hosted_pis.plan(connection, seen(connection, *there, live=live), wanted, PI_4, there)]


def silence(fleet: Fleet, *names: str, minutes: int) -> None:
    """Say when builders were heard of, in a database that has been up for that long."""
    for name in names:
        fleet.ask("UPDATE builder SET last_seen_at = now() - make_interval(mins => %s) WHERE name = %s", minutes, name)


@pytest.fixture
def up_for_days(fleet: Fleet) -> None:
    """The server has just been started; for this database it was days ago."""
    fleet.ask(
        "CREATE FUNCTION public.pg_postmaster_start_time() RETURNS timestamptz LANGUAGE sql AS $$SELECT now() - interval '9 days'$$"
    )
    fleet.ask("ALTER FUNCTION silent_hosted_pis SET search_path = public, pg_catalog, pg_temp")


def test_what_is_missing_is_written_down_once(connection: Connection, fleet: Fleet) -> None:
    assert plan(connection, 3) == NAMES[:3]
    # Whoever was killed before, or while, it ordered them.
    assert plan(connection, 3) == NAMES[:3]
    assert plan(connection, 3, NAMES[1], live=False) == NAMES[:3]
    assert plan(connection, 3, *NAMES[:3]) == []
    assert plan(connection, 5, *NAMES[:3]) == NAMES[3:5]
    assert fleet.ask("SELECT count(*), count(delivered_at) FROM hosted_pi") == [(5, 3)]


def test_who_was_delivered_and_is_not_in_the_inventory_is_waited_for(connection: Connection) -> None:
    plan(connection, 2, NAMES[0])
    (one, other) = hosted_pis.plan(connection, seen(connection, NAMES[0]), 2, PI_4, [])
    assert (one.name, one.seen) == (NAMES[0], True)
    assert (other.name, other.seen) == (NAMES[1], False)


def test_it_is_ordered_as_it_was_written_down(connection: Connection) -> None:
    plan(connection, 1)
    (again,) = hosted_pis.plan(connection, seen(connection), 1, {"model": 3})
    assert again.specification == PI_4
    assert not again.seen


def test_fewer_than_were_written_down_are_ordered_when_fewer_are_wanted(connection: Connection) -> None:
    plan(connection, 5)
    # The third is in the account, and costs money: it is waited for first.
    assert plan(connection, 2, NAMES[2], live=False) == [NAMES[0], NAMES[2]]


def test_pis_that_nobody_wrote_down_count(connection: Connection) -> None:
    assert plan(connection, 2, "wheels-by-hand", "wheels-07") == []
    assert plan(connection, 3, "wheels-by-hand", "wheels-07") == ["wheels-08"]


def test_others_are_never_the_fleets(connection: Connection, fleet: Fleet) -> None:
    assert plan(connection, 1, "web-01", "wheel") == NAMES[:1]
    assert fleet.ask("SELECT name FROM hosted_pi") == [(NAMES[0],)]
    assert set(hosted_pis.choose_leaving(connection, seen(connection, "web-01", NAMES[0]), 0)) == {NAMES[0]}


def test_a_name_is_given_once(connection: Connection) -> None:
    plan(connection, 1, NAMES[0])
    assert plan(connection, 1) == [NAMES[1]]


def test_nothing_is_concluded_from_a_list_older_than_a_delivery(connection: Connection) -> None:
    plan(connection, 1)
    before = seen(connection)
    hosted_pis.settle(connection, [NAMES[0]], {})
    assert hosted_pis.plan(connection, before, 1, PI_4, [NAMES[0]]) == []
    assert hosted_pis.look(connection, PREFIX)[1] == [NAMES[0]]


def test_two_that_plan_at_once_plan_the_same(fleet: Fleet, connection: Connection) -> None:
    with connected(fleet.database.conninfo("piwheels_owner")) as first:
        one = [pi.name for pi in hosted_pis.plan(first, seen(first), 2, PI_4)]
        connection.cursor().execute("SET lock_timeout = '100ms'")
        with pytest.raises(Exception, match="lock"):
            plan(connection, 2)
    assert plan(connection, 2) == one


def test_those_who_leave_are_the_useless_and_then_the_newest(connection: Connection, fleet: Fleet) -> None:
    for name in NAMES[:4]:
        plan(connection, NAMES.index(name) + 1, *NAMES[: NAMES.index(name) + 1])
    plan(connection, 5, *NAMES[:4])
    fleet.add_builder(NAMES[3])
    leave = hosted_pis.choose_leaving(connection, seen(connection, *NAMES[:4]), 3)
    assert leave == {NAMES[3]: True, NAMES[4]: False}
    # Interrupted, and run again; then somebody thinks better of it.
    assert hosted_pis.choose_leaving(connection, seen(connection, *NAMES[:4]), 3) == leave
    assert plan(connection, 3, *NAMES[:4]) == []
    assert plan(connection, 4, *NAMES[:4]) == [NAMES[5]]
    assert set(hosted_pis.choose_leaving(connection, seen(connection, *NAMES[:4]), 5)) == {NAMES[4]}


def test_who_was_cancelled_and_is_still_there_is_cancelled_again(connection: Connection) -> None:
    plan(connection, 1, NAMES[0])
    hosted_pis.choose_leaving(connection, seen(connection, NAMES[0]), 0)
    hosted_pis.note_cancelled(connection, [NAMES[0]])
    assert hosted_pis.choose_leaving(connection, seen(connection), 0) == {}
    assert hosted_pis.choose_leaving(connection, seen(connection, NAMES[0]), 0) == {NAMES[0]: False}
    # It is no member again.
    assert plan(connection, 1, NAMES[0]) == [NAMES[1]]


@pytest.mark.usefixtures("up_for_days")
def test_a_silent_builder_is_power_cycled_and_then_quarantined(connection: Connection, fleet: Fleet) -> None:
    def mind() -> dict[str, bool]:
        return hosted_pis.mind_silent(connection, seen(connection, *NAMES[:2]), 30, 2)

    def long_ago() -> None:
        fleet.ask("UPDATE hosted_pi SET power_cycled_at = power_cycled_at - interval '31 minutes'")

    plan(connection, 2, *NAMES[:2])
    for name in NAMES[:2]:
        fleet.add_builder(name)
    silence(fleet, NAMES[0], minutes=45)
    silence(fleet, NAMES[1], "pi1", minutes=1)
    assert mind() == {NAMES[0]: False}
    assert mind() == {}
    long_ago()
    assert mind() == {NAMES[0]: False}
    long_ago()
    assert mind() == {NAMES[0]: True}
    ((standing, why),) = fleet.ask("SELECT standing::text, standing_reason FROM builder WHERE name = %s", NAMES[0])
    assert (standing, why) == ("quarantined", "silent for 00:30:00, and power-cycled 2 times for that")
    assert mind() == {}


@pytest.mark.usefixtures("up_for_days")
def test_power_cycles_that_helped_for_a_day_are_forgotten(connection: Connection, fleet: Fleet) -> None:
    plan(connection, 1, NAMES[0])
    fleet.add_builder(NAMES[0])
    fleet.ask("UPDATE hosted_pi SET power_cycles = 2, power_cycled_at = now() - interval '3 days'")
    silence(fleet, NAMES[0], minutes=45)
    silence(fleet, "pi1", minutes=1)
    assert hosted_pis.mind_silent(connection, seen(connection, NAMES[0]), 30, 2) == {NAMES[0]: False}
    assert fleet.ask("SELECT power_cycles FROM hosted_pi") == [(1,)]


@pytest.mark.usefixtures("up_for_days")
@pytest.mark.parametrize("why", ["no rule", "nobody is heard of", "never heard of", "retired"])
def test_it_is_not_always_the_pi(why: str, connection: Connection, fleet: Fleet) -> None:
    plan(connection, 1, NAMES[0])
    fleet.add_builder(NAMES[0])
    silence(fleet, "pi1", minutes=90 if why == "nobody is heard of" else 1)
    if why != "never heard of":
        silence(fleet, NAMES[0], minutes=45)
    if why == "retired":
        retire_builder(connection, NAMES[0], "asked")
    assert hosted_pis.mind_silent(connection, seen(connection, NAMES[0]), 0 if why == "no rule" else 30, 2) == {}


def test_a_database_that_just_came_back_blames_nobody(connection: Connection, fleet: Fleet) -> None:
    plan(connection, 1, NAMES[0])
    fleet.add_builder(NAMES[0])
    silence(fleet, NAMES[0], minutes=45)
    silence(fleet, "pi1", minutes=1)
    assert hosted_pis.mind_silent(connection, seen(connection, NAMES[0]), 30, 2) == {}


def after_plan(connection: Connection, there: list[str]) -> hosted_pis.Fleet:
    plan(connection, 0, *there)
    return seen(connection, *there)


def lines(connection: Connection, fleet: hosted_pis.Fleet, *, in_inventory: bool = True) -> dict[str, tuple[str, bool]]:
    listed = {pi.name: pi for pi in fleet.account}
    told = hosted_pis.told(connection, fleet)
    return {pi.name: hosted_pis.describe(pi, listed.get(pi.name), in_inventory=in_inventory) for pi in told}


def test_what_costs_money_and_builds_nothing_is_named_with_its_remedy(connection: Connection, fleet: Fleet) -> None:
    names = NAMES[:9]
    building, never, away, old, off, coming, paused, fresh, leaving = names
    plan(connection, 9, *names)
    plan(connection, 10, *names)
    for name in (building, away, old, paused, fresh, off):
        fleet.add_builder(name)
    silence(fleet, building, old, fresh, off, paused, minutes=1)
    silence(fleet, away, minutes=70)
    fleet.ask("UPDATE hosted_pi SET ordered_at = now() - interval '3 days' WHERE name = ANY (%s)", [building, old])
    fleet.want("demo")
    assert fleet.lease(building)
    fleet.ask("UPDATE builder SET standing = 'paused', standing_reason = 'a new card' WHERE name = %s", paused)
    fleet.ask("UPDATE hosted_pi SET cancel_wanted_at = now() WHERE name = %s", leaving)
    states = {coming: {"live": False, "running": False}, off: {"live": True, "running": False}}
    account = [Listed(name, what="model 4", **states.get(name, {"live": True, "running": True})) for name in names]
    told = lines(connection, hosted_pis.Fleet(PREFIX, account, hosted_pis.look(connection, PREFIX)[0]))
    words: dict[str, Any] = {
        never: "is no builder: `provision.yml`",
        away: "was not heard of for 70 minutes",
        old: "has built nothing within a day",
        off: "is off, or has not booted",
        coming: "ordered, not delivered",
        paused: f"is paused (a new card): `piwheels-builder resume {paused}`",
        leaving: "was to be cancelled at",
    }
    assert {name for name, (_, is_useless) in told.items() if is_useless} == set(words)
    for name, said in words.items():
        assert said in told[name][0]
    assert "builds, 0 attempts" in told[building][0]
    assert "not ordered" in told[NAMES[9]][0]
    assert "is not in this inventory" in lines(connection, seen(connection, *names), in_inventory=False)[building][0]
    # Somebody cancelled it in the control panel.
    assert "is gone, and still a builder" in lines(connection, after_plan(connection, names[1:]))[building][0]


@pytest.mark.parametrize("prefix", ["", "-", "w", "wheels", "Wheels-", "wheels_-", "a-name-of-many-letters-"])
def test_a_prefix_that_could_be_others_is_refused(connection: Connection, prefix: str) -> None:
    with pytest.raises(BadInput, match=r"hosted_pi\.yml"):
        hosted_pis.look(connection, prefix)


@pytest.mark.parametrize("count", [-1, 501])
def test_a_slip_of_the_finger_is_refused(connection: Connection, count: int) -> None:
    with pytest.raises(BadInput, match="count"):
        plan(connection, count)
    with pytest.raises(BadInput, match="keep"):
        hosted_pis.choose_leaving(connection, seen(connection), -1)
