"""The commands status, resume and distrust, as the operator of a quarantined builder meets them."""

import json
from pathlib import Path

import pytest
import yaml

from piwheels_builder.cli import main
from piwheels_builder.states import Outcome
from tests.support.fleet import BOOKWORM, Fleet


@pytest.fixture(autouse=True)
def settings(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fleet.yml."""
    roles = ("dispatcher", "publisher", "reader")
    written = {"database": {role: fleet.database.conninfo(f"piwheels_{role}") for role in roles}, "projects": ["demo"]}
    (tmp_path / "fleet.yml").write_text(yaml.safe_dump(written))
    monkeypatch.setenv("PIWHEELS_BUILDER_ETC", str(tmp_path))


@pytest.fixture
def suspect(fleet: Fleet) -> None:
    """pi1 has served one wheel, made another, failed with a log, and is quarantined."""
    for project in ("served", "waiting"):
        build_id = fleet.want(project)
        fleet.record("pi1", fleet.lease_all("pi1")[0]["lease_id"], build_id)
    fleet.publish(1)
    failed = fleet.want("failed")
    fleet.record("pi1", fleet.lease_all("pi1")[0]["lease_id"], failed, Outcome.BUILD_ERROR, log_size=9)
    for _ in range(2):
        fleet.ask("SELECT suspect_builder('pi1', 'its wheel of [bold]waiting changed', true)", role="piwheels_publisher")


@pytest.mark.usefixtures("suspect")
def test_status_says_what_may_be_done_about_a_quarantined_builder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 0
    printed = capsys.readouterr().out
    assert "pi1 is quarantined: its wheel of [bold]waiting changed; 1 wheels of it are held back" in printed
    assert "`piwheels-builder resume pi1`" in printed
    assert "`piwheels-builder distrust pi1 --since TIME --reason WHY`" in printed
    assert "2 times within an hour: its wheel of [bold]waiting changed" in printed
    main(["status", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert [(told["builders"][0][key]) for key in ("standing", "wheels_waiting", "wheels_held")] == ["quarantined", 0, 1]
    assert told["incidents"][0]["times"] == 2


@pytest.mark.usefixtures("suspect")
def test_resume_believes_it_again(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    main(["resume", "--all"])
    assert "pi1 stays quarantined by itself" in capsys.readouterr().out
    main(["resume", "pi1"])
    capsys.readouterr()
    main(["status"])
    printed = capsys.readouterr().out
    assert "is quarantined" not in printed
    row = next(line for line in printed.splitlines() if line.startswith("│ pi1"))
    assert [cell.strip() for cell in row.strip("│").split("│")][-2:] == ["1", "1"], "wheels and logs waiting"
    fleet.publish(2)
    assert fleet.ask("SELECT count(*) FROM wheel WHERE published_at IS NOT NULL") == [(2,)]


@pytest.mark.usefixtures("suspect")
def test_distrust_lists_what_it_did(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["distrust", "pi1", "--since", "2020-01-31T12:00Z", "--reason", "a stranger was in"]
    assert main(command) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[:3] == [
        f"published: served 1 for {BOOKWORM}, served-1.0-py3-none-any.whl",
        f"queued again: failed 1 for {BOOKWORM}",
        f"queued again: waiting 1 for {BOOKWORM}",
    ]
    assert "--withdraw" in printed[3]
    assert printed[4] == "pi1 stays quarantined until `piwheels-builder resume pi1`"
    assert main([*command, "--withdraw"]) == 0
    assert capsys.readouterr().out.startswith("withdrawn: served 1")
    assert fleet.ask("SELECT filename FROM wheel WHERE withdrawn_at IS NOT NULL") == [("served-1.0-py3-none-any.whl",)]


@pytest.mark.usefixtures("suspect")
def test_a_builder_that_retired_can_be_distrusted(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.ask("SELECT retire_builder('pi1', 'worn out')")
    assert main(["distrust", "pi1", "--since", "2020-01-31T12:00Z", "--reason", "a stranger was in", "--withdraw"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == [
        f"queued again: failed 1 for {BOOKWORM}",
        f"withdrawn: served 1 for {BOOKWORM}, served-1.0-py3-none-any.whl",
    ]
    assert printed[-1] == "pi1 is retired, and stays so"
    assert fleet.ask("SELECT standing FROM builder") == [("retired",)]


def test_distrust_says_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    for builder, since, word in (
        ("pi1", "yesterday", "no time"),
        ("pi1", "2020-01-31T12:00", "time zone"),
        ("pi9", "2020-01-31T12:00Z", "no builder is called pi9"),
    ):
        assert main(["distrust", builder, "--since", since, "--reason", "why"]) == 64
        assert word in capsys.readouterr().err
