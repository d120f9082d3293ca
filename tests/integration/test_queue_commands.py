"""The commands report, status, requeue, pause and resume, as the operator meets them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from piwheels_builder.cli import main
from piwheels_builder.condition import Condition
from piwheels_builder.states import Outcome
from tests.support.fleet import BOOKWORM, Fleet


@pytest.fixture(autouse=True)
def settings(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fleet.yml, which lists three projects."""
    written = {
        "database": {role: fleet.database.conninfo(f"piwheels_{role}") for role in ("dispatcher", "reader")},
        "projects": ["good", "bad", "idle"],
    }
    (tmp_path / "fleet.yml").write_text(yaml.safe_dump(written))
    monkeypatch.setenv("PIWHEELS_BUILDER_ETC", str(tmp_path))


@pytest.fixture
def built(fleet: Fleet) -> dict[str, int]:
    """good is published, bad has failed, idle has no build."""
    builds = {name: fleet.want(name) for name in ("good", "bad")}
    lease_id = fleet.lease_all("pi1")[0]["lease_id"]
    fleet.record("pi1", lease_id, builds["good"], wheel="good-1.0-py3-none-any.whl")
    fleet.record("pi1", lease_id, builds["bad"], Outcome.COMPILE_ERROR)
    fleet.publish(1)
    idle = fleet.want("idle")
    fleet.ask("SELECT skip_build(%s, 'test')", idle, role="piwheels_dispatcher")
    fleet.ask("DELETE FROM build WHERE build_id = %s", idle)
    fleet.ask("DELETE FROM upstream_file WHERE filename LIKE 'idle%%'")
    return builds


def lines(printed: str) -> dict[str, list[str]]:
    """Cells of the table by release."""
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in printed.splitlines() if line.startswith("│")]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.usefixtures("built")
def test_a_report_tells_of_every_project_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report"]) == 2
    table = lines(capsys.readouterr().out)
    assert table["good 1.0"] == [str(BOOKWORM), "built", "1.5", "good-1.0-py3-none-any.whl"]
    assert table["bad 1.0"] == [str(BOOKWORM), "compile_error", "1.5", "the error"]
    assert table["idle 1.0"] == [str(BOOKWORM), "not built", "", "no files"]


@pytest.mark.usefixtures("built")
def test_a_report_of_what_nobody_knows_shows_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "Good==1", "unheard-of"]) == 66
    table = lines(capsys.readouterr().out)
    assert table["good 1.0"][1] == "built"
    assert table["unheard-of"][1] == "unknown"
    assert main(["report", "good==2"]) == 66


@pytest.mark.usefixtures("built")
def test_a_report_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "good", "--json"]) == 0
    row: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (row["project"], row["state"], row["wheel"]) == ("good", "published", "good-1.0-py3-none-any.whl")


def test_a_failed_release_is_built_again_by_its_outcome(
    fleet: Fleet, built: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["requeue", "good", "bad", "--outcome", "compile_error", "--reason", "a new compiler"]) == 0
    assert capsys.readouterr().out == f"queued again: bad 1.0 for {BOOKWORM}\n"
    assert fleet.ask("SELECT build_id, reason FROM build WHERE state = 'pending'") == [(built["bad"], "a new compiler")]
    main(["requeue", "bad"])
    assert "nothing to queue again" in capsys.readouterr().out


def test_status(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.want("first", seconds=600)
    fleet.want("second")
    fleet.lease("pi1", spool_seconds=500)
    assert main(["status"]) == 0
    printed = capsys.readouterr().out
    assert lines(printed)["pi1"] == ["active", "1", "1 builds, 10 min", "0", "0"]
    assert "1 leasable, 1 leased" in printed
    main(["status", "--json"])
    assert json.loads(capsys.readouterr().out)["queue"]["leased"] == 1


def test_a_pause_is_shown_until_it_ends(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.want("demo")
    main(["pause", "pi1", "--reason", "a new [card]"])
    main(["pause", "--all", "--reason", "upstream moves"])
    capsys.readouterr()
    main(["status"])
    printed = capsys.readouterr().out
    assert lines(printed)["pi1"][0] == "paused: a new [card]"
    assert printed.startswith("all dispatch was paused by piwheels_dispatcher at 20")
    main(["resume", "--all"])
    assert capsys.readouterr().out == "all dispatch goes on\npi1 stays paused by itself: a new [card]\n"
    main(["resume", "pi1"])
    main(["resume", "pi1"])
    assert capsys.readouterr().out == "pi1 goes on\npi1 was not paused\n"
    assert fleet.lease("pi1") is not None


def test_a_pause_is_of_something_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pause", "pi9", "--reason", "why"]) == 64
    assert "pi9" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["pause", "--reason", "why"])


def test_status_tells_of_a_builder_without_room_and_of_builds_too_large(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.add_builder("pi1", memory_mb=900)
    fleet.want("demo")
    fleet.ask("UPDATE queue SET memory_class = 2")
    fleet.ask("SELECT heartbeat('{}', '{}', '1 hour', false)", role="builder_pi1")
    main(["status"])
    printed = capsys.readouterr().out
    assert lines(printed)["pi1"][0] == "active, no room"
    assert "0 leasable" in printed
    assert "1 need a larger builder" in printed


def test_status_tells_what_ails_a_builder(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.heartbeat("pi1", [], Condition(temperature=81.5, under_voltage=True))
    main(["status"])
    assert lines(capsys.readouterr().out)["pi1"][0] == "active, too hot, under voltage"
    main(["status", "--json"])
    (builder,) = json.loads(capsys.readouterr().out)["builders"]
    assert (builder["condition"]["temperature"], builder["condition"]["disk_free"]) == (81.5, None)
