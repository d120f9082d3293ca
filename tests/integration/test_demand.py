"""What users asked for and could not get goes first: in the queue as it is, and in what is queued later."""

import json
from pathlib import Path

import pytest
import yaml

from piwheels_builder.cli import main
from tests.support.fleet import ARM64, BOOKWORM, Fleet


@pytest.fixture(autouse=True)
def settings(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = {
        "database": {role: fleet.database.conninfo(f"piwheels_{role}") for role in ("dispatcher", "reader")},
        "projects": ["wanted"],
    }
    (tmp_path / "fleet.yml").write_text(yaml.safe_dump(written))
    monkeypatch.setenv("PIWHEELS_BUILDER_ETC", str(tmp_path))


def priority(fleet: Fleet, build_id: int) -> int:
    return int((fleet.queued(build_id) or {})["priority"])


def test_it_is_leased_before_forced_builds_for_all_targets(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.add_builder("pi1", BOOKWORM, ARM64)
    fleet.want("forced", seconds=500, priority=0)
    asked = [fleet.want("wanted", seconds=1, priority=2), fleet.want("wanted", ARM64, seconds=1, priority=2)]
    assert main(["demand", "add", "Wanted"]) == 0
    assert "wanted: 2 builds go first" in capsys.readouterr().out
    assert [row["build_id"] for row in fleet.lease_all("pi1")][:2] == asked


def test_what_is_queued_later_goes_first_too(fleet: Fleet) -> None:
    fleet.add_builder("pi1", BOOKWORM, ARM64)
    fleet.want("wanted")
    main(["demand", "add", "wanted"])
    later = fleet.want("wanted", ARM64, priority=2)
    assert priority(fleet, later) == -1
    fleet.ask("UPDATE release SET newest_first = 2")
    assert fleet.ask("SELECT demanded_priority(release_id, 2) FROM release") == [(2,)]


def test_one_release_is_demanded_whether_or_not_it_is_the_newest(fleet: Fleet) -> None:
    build_id = fleet.want("wanted", priority=2)
    fleet.ask("UPDATE release SET newest_first = 7")
    assert main(["demand", "add", "wanted==1.0.0"]) == 0
    assert priority(fleet, build_id) == -1


def test_what_nobody_knows_is_no_demand(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.want("wanted")
    assert main(["demand", "add", "unheard-of"]) == 66
    assert "piwheels-builder sync unheard-of" in capsys.readouterr().err
    assert main(["demand", "add", "wanted==9"]) == 66
    assert fleet.ask("SELECT * FROM demand") == []


def test_demand_makes_nothing_wanted_and_says_why_nothing_is(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    build_id = fleet.want("wanted")
    fleet.ask("SELECT skip_build(%s, 'test')", build_id, role="piwheels_dispatcher")
    fleet.ask("UPDATE upstream_file SET yanked = true")
    assert main(["demand", "add", "wanted"]) == 0
    assert "skipped" in capsys.readouterr().out
    assert fleet.queued(build_id) is None


def test_an_access_log_tells_what_was_redirected(fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build_id = fleet.want("wanted", priority=2)
    log = tmp_path / "access.log"
    log.write_bytes(b"".join(
        b'192.0.2.%d - - [x] "GET /simple/%s/ HTTP/1.1" 302 0 "-" "\xff"\n' % (host, name)
        for host, name in [(1, b"wanted"), (2, b"wanted"), (1, b"unheard-of")]
    ))  # fmt: skip
    assert main(["demand", "add", "--from-access-log", str(log)]) == 0
    assert "2 projects were asked for in vain, 1 of them are in the catalogue; 1 builds go first" in capsys.readouterr().out
    assert priority(fleet, build_id) == -1
    main(["demand", "list", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["project"], told["version"], told["asked"], told["queued"]) == ("wanted", None, 2, 1)
    assert main(["demand", "add", "--from-access-log", str(tmp_path / "none")]) == 64
    assert main(["demand", "add"]) == 64


def test_a_dropped_demand_leaves_each_build_where_it_would_have_been(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    build_id = fleet.want("wanted", priority=1)
    main(["demand", "add", "wanted"])
    main(["demand", "drop", "wanted"])
    assert priority(fleet, build_id) == 1
    main(["demand", "drop", "wanted"])
    main(["demand", "list"])
    assert "nobody waited for it" in (printed := capsys.readouterr().out)
    assert "nobody waits for anything" in printed


def test_what_nobody_asked_for_in_two_months_is_forgotten(fleet: Fleet) -> None:
    fleet.want("wanted")
    main(["demand", "add", "wanted"])
    fleet.reclaim()
    assert fleet.ask("SELECT count(*) FROM demand") == [(1,)]
    fleet.ask("UPDATE demand SET asked_last_at = now() - interval '61 days'")
    fleet.reclaim()
    assert fleet.ask("SELECT count(*) FROM demand") == [(0,)]
