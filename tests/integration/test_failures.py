"""What failed, by what was missing; and all of a kind built again, at once."""

import io
import json
import time
from pathlib import Path

import pytest
import yaml

from piwheels_builder.cli import main
from piwheels_builder.db.connect import connected
from piwheels_builder.queue.failures import Kind, count_failures, failure_groups, requeue_failures
from piwheels_builder.states import Outcome
from tests.support.fleet import BOOKWORM, TRIXIE, Fleet

OLD, NEW = "bookworm 12.9; gcc 12.2.0; ld 2.40; requirements a; setuptools 65.0", "bookworm 12.9; gcc 14.2.0; requirements b"


@pytest.fixture(autouse=True)
def settings(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conninfo = {role: fleet.database.conninfo(f"piwheels_{role}") for role in ("dispatcher", "reader")}
    (tmp_path / "fleet.yml").write_text(yaml.safe_dump({"database": conninfo}))
    monkeypatch.setenv("PIWHEELS_BUILDER_ETC", str(tmp_path))


def fail(
    fleet: Fleet, name: str, outcome: Outcome, missing: str | None = None, *, toolchain: str = OLD, line: str = "an Error"
) -> int:
    """A build that pi1 recorded so."""
    build_id = fleet.want(name)
    (row,) = fleet.lease_all("pi1")
    fleet.ask(
        "SELECT record_attempt(%s, %s, %s, now(), 90::real, NULL, %s, 'log', %s, NULL, NULL, NULL, NULL, %s)",
        row["lease_id"],
        build_id,
        outcome,
        line,
        toolchain,
        missing,
        role="builder_pi1",
    )
    return build_id


@pytest.fixture
def failed(fleet: Fleet) -> dict[str, int]:
    return {
        "cffi": fail(fleet, "cffi", Outcome.MISSING_HEADER, "ffi.h"),
        "xcffib": fail(fleet, "xcffib", Outcome.MISSING_HEADER, "ffi.h", toolchain=NEW, line="fatal: ffi.h"),
        "pylinux": fail(fleet, "pylinux", Outcome.MISSING_HEADER, "linux_i2c.h"),
        "other": fail(fleet, "other", Outcome.COMPILE_ERROR, toolchain=NEW, line="no matching 100% function"),
    }


def chosen(fleet: Fleet, **kind: str | None) -> set[str]:
    """Which projects a kind is about."""
    whole = {"outcome": None, "missing": None, "toolchain": None, "target": None, "builder": None, "text": None, **kind}
    asked = Kind.of(**whole)
    found = fleet.ask(
        "SELECT project.name FROM failed_builds(%s, %s, %s, %s, %s, %s)"
        " JOIN release USING (release_id) JOIN project USING (project_id)",
        *vars(asked).values(),
    )
    return {name for (name,) in found}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ({}, {"cffi", "xcffib", "pylinux", "other"}),
        ({"outcome": "missing_header"}, {"cffi", "xcffib", "pylinux"}),
        ({"missing": "ffi.h"}, {"cffi", "xcffib"}),
        ({"missing": "linux_i2c.h"}, {"pylinux"}),
        ({"missing": "linux_____.h"}, set()),
        ({"missing": "%.h"}, {"cffi", "xcffib", "pylinux"}),
        ({"toolchain": "gcc 12.2%"}, {"cffi", "pylinux"}),
        ({"toolchain": "gcc 12"}, set()),
        ({"toolchain": "gcc%b"}, set()),
        ({"toolchain": "setuptools 65.0"}, {"cffi", "pylinux"}),
        ({"toolchain": "gcc 14.2.0", "outcome": "missing_header"}, {"xcffib"}),
        ({"target": "cp311-%"}, {"cffi", "xcffib", "pylinux", "other"}),
        ({"target": "cp313-%"}, set()),
        ({"builder": "pi1"}, {"cffi", "xcffib", "pylinux", "other"}),
        ({"builder": "pi2"}, set()),
        ({"text": "FATAL"}, {"xcffib"}),
        ({"text": "100%"}, {"other"}),
        ({"text": "%"}, {"other"}),
    ],
)
@pytest.mark.usefixtures("failed")
def test_a_kind_chooses(fleet: Fleet, kind: dict[str, str | None], expected: set[str]) -> None:
    assert chosen(fleet, **kind) == expected


def test_only_the_last_attempt_of_what_is_still_failed_counts(fleet: Fleet, failed: dict[str, int]) -> None:
    fleet.ask("SELECT requeue_build(%s, 'again')", failed["cffi"], role="piwheels_dispatcher")
    assert chosen(fleet, missing="ffi.h") == {"xcffib"}
    (row,) = fleet.lease_all("pi1")
    fleet.record("pi1", row["lease_id"], failed["cffi"], Outcome.COMPILE_ERROR)
    assert chosen(fleet, missing="ffi.h") == {"xcffib"}
    assert chosen(fleet, outcome="compile_error") == {"cffi", "other"}


def test_a_refused_wheel_is_a_failure(fleet: Fleet) -> None:
    build_id = fleet.want("liar")
    (row,) = fleet.lease_all("pi1")
    fleet.record("pi1", row["lease_id"], build_id)
    fleet.ask("SELECT refuse_wheel(1, 'other bytes')", role="piwheels_publisher")
    assert chosen(fleet, outcome="refused") == {"liar"}
    with connected(fleet.database.conninfo("piwheels_reader")) as connection:
        (group,) = failure_groups(connection, Kind())
    assert (group.outcome, group.example) == ("refused", "liar 1.0")


@pytest.mark.usefixtures("failed")
def test_failures_are_told_by_what_was_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["failures", "--json"]) == 0
    first, *rest = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {
        "outcome": "missing_header",
        "missing": "ffi.h",
        "toolchain": None,
        "builds": 2,
        "projects": 2,
        "example": "xcffib 1.0",
        "error_line": "fatal: ffi.h",
    }
    assert [(group["outcome"], group["missing"], group["builds"]) for group in rest] == [
        ("compile_error", None, 1),
        ("missing_header", "linux_i2c.h", 1),
    ]
    main(["failures", "--by", "gcc", "--missing", "ffi.h", "--json"])
    assert [json.loads(line)["toolchain"] for line in capsys.readouterr().out.splitlines()] == ["gcc 12.2.0", "gcc 14.2.0"]
    main(["failures", "--by", "gcc"])
    printed = capsys.readouterr().out
    assert "ffi.h" in printed
    assert "gcc 14.2.0" in printed
    main(["failures", "--outcome", "timeout"])
    assert capsys.readouterr().out == "nothing has failed so\n"


def test_all_of_a_kind_are_queued_again(fleet: Fleet, failed: dict[str, int], capsys: pytest.CaptureFixture[str]) -> None:
    main(["requeue", "--all", "--missing", "ffi.h", "--dry-run"])
    assert capsys.readouterr().out == "2 builds would be queued again\n"
    assert fleet.ask("SELECT count(*) FROM queue") == [(0,)]
    main(["requeue", "--all", "--missing", "ffi.h", "--reason", "libffi-dev is there now"])
    assert capsys.readouterr().out == "2 builds are queued again\n"
    queued = fleet.ask("SELECT build_id, priority, estimate_seconds, reason FROM queue JOIN build USING (build_id) ORDER BY 1")
    assert queued == [(failed[name], 1, 90.0, "libffi-dev is there now") for name in ("cffi", "xcffib")]
    main(["requeue", "--all", "--missing", "ffi.h"])
    assert capsys.readouterr().out == "0 builds would be queued again\n"


def test_parked_builds_are_let_go(fleet: Fleet) -> None:
    build_id = fail(fleet, "demo", Outcome.DISK_FULL)
    fleet.ask("UPDATE queue SET held = 'five faults', not_before = now() + interval '1 day'")
    assert main(["requeue", "--all", "--outcome", "disk_full"]) == 0
    assert [row["build_id"] for row in fleet.lease_all("pi1")] == [build_id]


def test_of_one_release_the_oldest_target_leads(fleet: Fleet) -> None:
    fleet.add_builder("pi1", BOOKWORM, TRIXIE)
    builds = [fleet.want("demo", target) for target in (TRIXIE, BOOKWORM)]
    for row in fleet.lease_all("pi1"):
        fleet.record("pi1", row["lease_id"], row["build_id"], Outcome.OUT_OF_MEMORY)
    fleet.ask("UPDATE queue SET memory_class = 2")
    for row in fleet.lease_all("pi1"):
        fleet.record("pi1", row["lease_id"], row["build_id"], Outcome.OUT_OF_MEMORY)
    main(["requeue", "--all"])
    waiting = fleet.ask("SELECT build_id, waits_for, memory_class FROM queue ORDER BY build_id")
    assert waiting == [(builds[0], builds[1], 2), (builds[1], None, 2)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["requeue"], "name projects, or say --all"),
        (["requeue", "demo", "--all"], "name projects, or say --all"),
        (["requeue", "demo", "--missing", "ffi.h"], "choose among --all"),
        (["requeue", "--all", "--outcome", "nonsense"], "there is no outcome nonsense"),
        (["failures", "--outcome", "nonsense"], "there is no outcome nonsense"),
    ],
)
def test_what_cannot_be_meant_is_named(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 64
    assert words in capsys.readouterr().err


class TestMany:
    """Thousands at once."""

    @pytest.fixture
    def thousands(self, fleet: Fleet) -> int:
        fleet.ask("INSERT INTO project (name) SELECT 'project-' || n FROM generate_series(1, 3000) AS n")
        fleet.ask(
            "INSERT INTO release (project_id, version, spelling, newest_first)"
            " SELECT project_id, n, n, n FROM project, generate_series(1, 2) AS n"
        )
        fleet.ask("INSERT INTO build (release_id, target_id, state, reason) SELECT release_id, 1, 'failed', 'x' FROM release")
        fleet.ask(
            "INSERT INTO attempt (build_id, project_id, lease_id, builder_id, outcome, started_at, seconds, missing)"
            " SELECT build_id, project_id, gen_random_uuid(), 1, 'missing_header', now(), 5, 'ffi.h'"
            " FROM build JOIN release USING (release_id)"
        )
        fleet.ask("ANALYZE")
        return 6000

    def test_they_need_a_yes(
        self, fleet: Fleet, thousands: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
        assert main(["requeue", "--all"]) == 64
        assert f"{thousands} builds would be queued again: say --yes" in capsys.readouterr().err
        assert fleet.ask("SELECT count(*) FROM queue") == [(0,)]
        assert main(["requeue", "--all", "--yes"]) == 0
        assert fleet.ask("SELECT priority, count(*) FROM queue GROUP BY 1 ORDER BY 1") == [(1, 3000), (2, 3000)]

    def test_it_takes_one_statement_for_all(self, fleet: Fleet, thousands: int) -> None:
        with connected(fleet.database.conninfo("piwheels_dispatcher")) as connection:
            started = time.monotonic()
            assert count_failures(connection, Kind(missing="ffi.h")) == thousands
            assert requeue_failures(connection, Kind(missing="ffi.h"), "again") == thousands
        # One by one they would take about a millisecond each, with a round trip to the database.
        assert time.monotonic() - started < thousands / 1000
