"""All builders in one terminal: what stands there, and that keys do what they say, once they are confirmed."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from textual.pilot import Pilot

from piwheels_builder.cli import main
from piwheels_builder.condition import Condition
from piwheels_builder.db.connect import connected
from piwheels_builder.states import Outcome
from piwheels_builder.watching.reach import Place
from piwheels_builder.watching.sight import sight
from piwheels_builder.watching.terminal import Asked, Watch
from tests.support.fleet import Fleet
from tests.support.outage import outage


@pytest.fixture(autouse=True)
def settings(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pi1 was never heard of, pi2 builds numpy, pi10 failed lxml."""
    database = {role: fleet.database.conninfo(f"piwheels_{role}") for role in ("dispatcher", "reader")}
    (tmp_path / "fleet.yml").write_text(yaml.safe_dump({"database": database, "projects": ["numpy", "lxml"]}))
    monkeypatch.setenv("PIWHEELS_BUILDER_ETC", str(tmp_path))
    for name in ("pi2", "pi10"):
        fleet.add_builder(name)
    failed = fleet.want("lxml")
    (leased,) = fleet.lease_all("pi10")
    fleet.record("pi10", leased["lease_id"], failed, Outcome.MISSING_HEADER)
    begun = fleet.want("numpy", seconds=600)
    fleet.lease_all("pi2")
    fleet.heartbeat("pi2", [begun], Condition(81.6, 1_230_000_000, under_voltage=True, disk_free=12_000_000_000))


def reader(fleet: Fleet) -> str:
    return fleet.database.conninfo("piwheels_reader")


Act = Callable[[Watch, Pilot[int]], Coroutine[Any, Any, None]]


def piloted(fleet: Fleet, act: Act, places: Mapping[str, Place] = {}, size: tuple[int, int] = (140, 30)) -> None:
    async def run() -> None:
        app = Watch(reader(fleet), 0.2, places)
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: bool(app.builders))
            await act(app, pilot)

    asyncio.run(run())


async def until(pilot: Pilot[int], condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        await pilot.pause(0.05)


def test_a_table_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "pi" in line]
    assert [line.split()[1] for line in lines] == ["pi1", "pi2", "pi10"]
    assert "never" in lines[0]
    assert "building" in lines[1]
    assert "numpy 1.0" in lines[1]
    assert "1 builds, 10 min" in lines[1]
    assert "82 °C, too hot, under voltage │ 1.2 GB      │ 12.0 GB" in lines[1]
    assert "°C" not in lines[0] + lines[2]


async def say(app: Watch, pilot: Pilot[int], key: str, answer: str) -> None:
    await pilot.press(key)
    await until(pilot, lambda: isinstance(app.screen, Asked))
    await pilot.press(answer)
    await until(pilot, lambda: not isinstance(app.screen, Asked))


def test_keys_act_on_the_chosen_builder_once_confirmed(fleet: Fleet) -> None:
    async def act(app: Watch, pilot: Pilot[int]) -> None:
        await say(app, pilot, "p", "n")
        assert app.builders["pi1"].standing == "active"
        await pilot.press("down", "down")
        await say(app, pilot, "p", "y")
        await until(pilot, lambda: str(app.table.get_cell("pi10", "state")) == "paused")
        assert app.builders["pi2"].standing == "active"
        await say(app, pilot, "r", "y")
        await until(pilot, lambda: app.builders["pi10"].standing == "active")
        await say(app, pilot, "a", "y")
        await until(pilot, lambda: fleet.ask("SELECT count(*) FROM build WHERE state = 'pending'") == [(1,)])
        await pilot.press("up")
        await say(app, pilot, "s", "y")
        await until(pilot, lambda: fleet.ask("SELECT project FROM operator_instruction WHERE instruction = 'skip'") == [("numpy",)])

    piloted(fleet, act)


def test_what_ails_a_builder_is_red_and_gone_once_it_is_mended(fleet: Fleet) -> None:
    async def act(app: Watch, pilot: Pilot[int]) -> None:
        cell = app.table.get_cell("pi2", "condition")
        assert (str(cell), str(cell.style)) == ("82 °C, too hot, under voltage", "red")
        assert str(app.table.get_cell("pi10", "condition")) == ""
        fleet.heartbeat("pi2", [], Condition(55.0, throttled=False, under_voltage=False))
        await until(pilot, lambda: str(app.table.get_cell("pi2", "condition")) == "55 °C")
        assert str(app.table.get_cell("pi2", "condition").style) == ""

    piloted(fleet, act)


def test_the_chosen_builder_stays_chosen_when_others_come(fleet: Fleet) -> None:
    async def act(app: Watch, pilot: Pilot[int]) -> None:
        await pilot.press("down", "down")
        fleet.add_builder("pi3")
        await until(pilot, lambda: "pi3" in app.builders)
        await until(pilot, lambda: app.table.row_count == 4)
        assert app.table.cursor_row == app.table.get_row_index("pi10") == 3

    piloted(fleet, act)


def test_a_lost_database_is_told_of_and_what_was_known_stays(fleet: Fleet) -> None:
    async def act(app: Watch, pilot: Pilot[int]) -> None:
        with outage(fleet.database):
            await until(pilot, lambda: app.trouble.display)
            assert "the database" in str(app.trouble.render())
            assert app.table.row_count == 3
            await pilot.press("down")
            assert app.chosen is app.builders["pi2"]
        await until(pilot, lambda: not app.trouble.display)

    piloted(fleet, act)


def test_a_database_that_is_away_at_the_start_is_an_exit_code(
    fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away = {"database": {"reader": f"host={tmp_path} dbname={fleet.database.name}"}}
    (tmp_path / "fleet.yml").write_text(yaml.safe_dump(away))
    assert main(["watch"]) == 75
    assert "cannot be reached" in capsys.readouterr().err


def test_two_hundred_builders_in_a_small_terminal(fleet: Fleet) -> None:
    add_many(fleet, 200)

    async def act(app: Watch, pilot: Pilot[int]) -> None:
        await pilot.press("ctrl+end")
        await until(pilot, lambda: app.chosen is app.builders["rack200"])
        # The table, a log and the keys all have a place.
        assert app.table.size.height >= 5
        assert app.log_view.size.height >= 5
        # What matters is not beyond the edge.
        shown = sum(column.get_render_width(app.table) for column in app.table.ordered_columns[:5])
        assert shown <= 80
        await pilot.press("ctrl+home", "down")
        await until(pilot, lambda: app.chosen is app.builders["pi2"])

    piloted(fleet, act, size=(80, 24))


def add_many(fleet: Fleet, number: int) -> None:
    fleet.ask(
        "INSERT INTO builder (name, login, memory_class, slots)"
        " SELECT 'rack' || n, 'rack' || n, 2, 4 FROM generate_series(1, %s) AS n RETURNING 1",
        number,
    )


def test_a_look_at_a_thousand_builders_takes_no_time(fleet: Fleet) -> None:
    add_many(fleet, 1000)
    with connected(reader(fleet)) as connection:
        began = time.monotonic()
        assert len(sight(connection)) == 1003
        assert time.monotonic() - began < 2
