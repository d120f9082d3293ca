"""The catalogue's commands and its Ansible module, as a user meets them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from piwheels_builder.cli import main
from piwheels_builder.db.embedded import EmbeddedDatabase
from piwheels_builder.states import Outcome
from tests.support.fleet import BOOKWORM, TRIXIE, Fleet
from tests.support.modules import run_module
from tests.support.upstream import Upstream, serve_upstream


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serve_upstream() as server:
        server.add_sdist("demo", "1.0")
        server.add_sdist("demo", "2.0")
        server.add_project("demo", versions=["1.0", "2.0"])
        yield server


@pytest.fixture
def fleet(database: EmbeddedDatabase, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """A fleet with its fleet.yml, which lists demo."""
    settings = {
        "database": {role: database.conninfo(f"piwheels_{role}") for role in ("dispatcher", "reader")},
        "upstream": upstream.url,
        "projects": ["demo"],
    }
    (tmp_path / "fleet.yml").write_text(yaml.safe_dump(settings))
    monkeypatch.setenv("PIWHEELS_BUILDER_ETC", str(tmp_path))
    fleet = Fleet(database)
    fleet.add_builder("pi", BOOKWORM, TRIXIE)
    return fleet


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command; its exit code and everything it printed."""

    def run(*arguments: str) -> tuple[int, str]:
        code = main(arguments)
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


@pytest.mark.usefixtures("fleet")
def test_sync_says_what_it_did_and_that_it_did_nothing(said: Any) -> None:
    code, told = said("sync")
    assert code == 0
    assert "demo: 2 releases, 2 files new or changed, 0 files removed" in told
    assert "wanted: demo==2.0 for cp311-armv7l-bookworm" in told
    assert "1 of 1 projects, 1 changed: 2 releases, 2 files; 2 builds wanted, 0 skipped" in told
    assert said("sync") == (0, "1 of 1 projects: nothing changed\n")


@pytest.mark.usefixtures("fleet")
def test_sync_ends_with_what_failed(upstream: Upstream, said: Any) -> None:
    code, told = said("sync", "nowhere", "demo")
    assert code == 66
    assert "1 of 2 projects failed" in told
    upstream.fail("/simple/demo/", status=500, times=1000)
    assert said("sync", "de mo")[0] == 64
    assert said("sync", "demo==1.0")[0] == 64


def test_explain_tells_why_and_how_far(fleet: Fleet, said: Any) -> None:
    assert said("explain", "demo") == (
        66,
        "piwheels-builder: demo is not in the catalogue: run `piwheels-builder sync demo` first\n",
    )
    said("sync")
    assert (
        "demo 2.0 for cp311-armv7l-bookworm: wanted: newest release of its project\n  build: pending: wanted\n"
        in said("explain", "Demo")[1]
    )
    assert "not wanted: number 2 of its project's releases" in said("explain", "demo==1.0.0")[1]
    code, told = said("explain", "demo==3.0")
    assert code == 66
    assert "the newest releases it has: 2.0, 1.0" in told
    batch = fleet.lease("pi")
    assert batch is not None
    fleet.record("pi", batch.lease_id, batch.builds[0].build_id, Outcome.COMPILE_ERROR)
    assert "  build: failed: compile_error\n  last attempt: compile_error: the error\n" in said("explain", "demo==2")[1]

    fleet.ask("UPDATE attempt SET log_size = 10, log_stored_at = now()")
    ((attempt,),) = fleet.ask("SELECT attempt_id FROM attempt")
    assert f"  log, on the index: /logs/de/demo/{attempt}.log\n" in said("explain", "demo==2")[1]


def test_explain_tells_what_came_of_importing_the_wheel(fleet: Fleet, said: Any) -> None:
    said("sync")
    batch = fleet.lease("pi")
    assert batch is not None
    fleet.record("pi", batch.lease_id, batch.builds[0].build_id, Outcome.BUILT, "demo-2.0-py3-none-any.whl")
    libraries = '{"libz.so.1": "zlib1g", "a.so": null}'
    fleet.ask("UPDATE wheel SET import_result = 'untried', import_detail = 'why', libraries = %s", libraries)
    told = said("explain", "demo")[1]
    assert "  import: untried: why\n" in told
    assert "  needs: libz.so.1 (package zlib1g)\n" in told
    assert "  needs: a.so\n" in told
    fleet.ask("UPDATE wheel SET import_result = 'not_needed', import_detail = NULL")
    assert "  import: not needed\n" in said("explain", "demo")[1]


def test_explain_as_json(fleet: Fleet, said: Any) -> None:
    said("sync")
    batch = fleet.lease("pi")
    assert batch is not None
    fleet.record("pi", batch.lease_id, batch.builds[0].build_id, Outcome.BUILT, "demo-2.0-py3-none-any.whl")
    first, second = json.loads(said("explain", "demo", "--json")[1])
    assert first == {
        "project": "demo",
        "version": "2.0",
        "target": str(BOOKWORM),
        "wanted": True,
        "reason": "newest release of its project",
        "state": "built",
        "state_reason": "built by pi",
        "outcome": "built",
        "error_line": "the error",
        "wheel": "demo-2.0-py3-none-any.whl",
        "log": None,
        "import_result": None,
        "import_detail": None,
        "libraries": None,
    }
    assert (second["target"], second["state"], second["wheel"]) == (str(TRIXIE), "pending", None)


def test_skip_and_its_end(fleet: Fleet, said: Any) -> None:
    said("sync")
    code, told = said("skip", "demo==2", "--reason", "fills the disk")
    assert code == 0
    assert "skipped: demo==2.0 for cp311-armv7l-bookworm: the operator skips it: fills the disk" in told
    assert said("skip", "demo==2", "--reason", "fills the disk")[1] == "skip demo==2: nothing to change\n"
    assert said("sync")[1].endswith("nothing changed\n")
    assert "the operator skips it: fills the disk" in said("explain", "demo")[1]
    assert "wanted: demo==2.0 for cp311-armv7l-bookworm" in said("skip", "demo==2.0", "--undo")[1]
    assert fleet.ask("SELECT 1 FROM operator_instruction") == []


def test_force_beats_the_list_and_a_skipped_project(fleet: Fleet, said: Any) -> None:
    said("sync")
    said("skip", "demo", "--reason", "no time")
    assert fleet.ask("SELECT 1 FROM queue") == []
    assert "wanted: demo==1.0 for cp313-armv7l-trixie" in said("force", "demo==1.0", "--reason", "a user asked")[1]
    assert fleet.ask("SELECT priority FROM queue") == [(0,), (0,)]
    assert "forced by the operator" in said("explain", "demo==1.0")[1]
    assert "not in the catalogue yet" in said("force", "unheard-of", "--reason", "x")[1]


def test_an_opt_out_ends_it_all(fleet: Fleet, said: Any) -> None:
    said("sync")
    said("force", "demo", "--reason", "x")
    assert "its maintainer opted out: they said no" in said("opt-out", "Demo", "--reason", "they said no")[1]
    assert fleet.ask("SELECT 1 FROM queue") == []
    assert said("opt-out", "demo==1.0", "--reason", "x")[0] == 64
    assert "wanted: demo==1.0" in said("opt-out", "demo", "--undo")[1]


@pytest.mark.parametrize("arguments", [("skip", "demo"), ("skip", "demo", "--reason", "x", "--undo"), ("explain",)])
def test_usage(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert "usage:" in capsys.readouterr().err


@pytest.mark.usefixtures("fleet")
def test_a_reason_must_say_something(said: Any) -> None:
    assert said("skip", "demo", "--reason", " ")[0] == 64


def test_module(fleet: Fleet, upstream: Upstream) -> None:
    arguments = {
        "database": fleet.database.conninfo("piwheels_dispatcher"),
        "upstream": upstream.url,
        "projects": ["demo"],
        "build_policy": "all",
    }
    checked = run_module("catalogue_sync", arguments, check=True)
    assert (checked["changed"], checked["builds_wanted"]) == (True, 2)
    assert fleet.ask("SELECT 1 FROM project") == []
    done = run_module("catalogue_sync", arguments)
    assert done["diff"]["after"] == "demo==2.0 for cp311-armv7l-bookworm\ndemo==2.0 for cp313-armv7l-trixie\n"
    assert {key: done[key] for key in ("changed", "projects", "changed_projects", "releases", "files", "failures")} == {
        "changed": True,
        "projects": 1,
        "changed_projects": ["demo"],
        "releases": 2,
        "files": 2,
        "failures": [],
    }
    again = run_module("catalogue_sync", arguments)
    assert (again["changed"], again["builds_wanted"], again["diff"]) == (False, 0, {"before": "", "after": ""})
    upstream.remove_project("demo")
    assert run_module("catalogue_sync", arguments)["gone"] == ["demo"]


def test_one_project_that_fails_does_not_fail_the_module(fleet: Fleet, upstream: Upstream) -> None:
    arguments = {
        "database": fleet.database.conninfo("piwheels_dispatcher"),
        "upstream": upstream.url,
        "projects": ["nowhere", "demo"],
        "build_policy": "all",
    }
    done = run_module("catalogue_sync", arguments)
    assert (done.get("failed", False), done["builds_wanted"]) == (False, 2)
    assert [failure["project"] for failure in done["failures"]] == ["nowhere"]
    assert "1 of 2 projects failed" in done["warnings"][0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"projects": ["nowhere", "elsewhere"]}, "2 of 2 projects failed"),
        ({"projects": ["demo==9"]}, "there is no demo==9 upstream; its newest releases: 2.0, 1.0"),
        ({"projects": "demo"}, "projects is 'demo'"),
        ({"projects": ["demo"], "build_policy": "some"}, "value of build_policy must be one of"),
        ({"projects": ["demo"], "database": "host=/nonexistent"}, "cannot be reached"),
    ],
)
def test_module_says_what_is_wrong(fleet: Fleet, upstream: Upstream, arguments: dict[str, Any], words: str) -> None:
    result = run_module(
        "catalogue_sync", {"database": fleet.database.conninfo("piwheels_dispatcher"), "upstream": upstream.url, **arguments}
    )
    assert result["failed"]
    assert words in result["msg"]
    assert "Traceback" not in json.dumps(result)
