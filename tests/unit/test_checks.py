"""`serve --check`: each check says what is wrong and how to mend it, whatever the others say."""

import json
import platform
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from piwheels_builder.builder import checks
from piwheels_builder.builder.cgroup import memory_control
from piwheels_builder.builder.checks import Check, run_checks
from piwheels_builder.builder.interpreter import describe
from piwheels_builder.cli import main
from piwheels_builder.errors import SandboxUnavailable
from piwheels_builder.settings import BuilderSettings
from tests.support.builders import builder_settings

ABI = describe(Path(sys.executable)).python_abi


@pytest.fixture(autouse=True)
def _sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host on which nothing is wrong, as far as a test does not say so."""
    monkeypatch.setattr(checks, "check_enclosure", lambda _: None)
    monkeypatch.setattr(checks, "memory_control", lambda: (True, True))
    monkeypatch.setattr(checks, "database_clock", lambda _: datetime.now(UTC))


def ours(state_dir: Path, **fields: object) -> BuilderSettings:
    here = {"pythons": {ABI: Path(sys.executable)}, "architecture": platform.machine()}
    return builder_settings(state_dir, **{**here, **fields})


def told(name: str, settings: BuilderSettings) -> Check:
    return next(check for check in run_checks(settings) if check.name == name)


def test_a_sound_host_is_ready(tmp_path: Path) -> None:
    found = run_checks(ours(tmp_path / "not/yet"))
    assert [check.state for check in found] == ["ok"] * 6
    assert json.loads(checks.as_json(found))["ready"] is True


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "free_bytes", lambda _: 5 << 20)
    found = run_checks(ours(tmp_path, pythons={"cp399": Path(sys.executable), "cp311": Path("/nowhere/python")}))
    assert {check.name for check in found if check.state == "failed"} >= {"interpreters", "disk"}
    assert not checks.is_ready(found)


def test_an_interpreter_that_is_not_there_or_another(tmp_path: Path) -> None:
    assert "not there" in told("interpreters", ours(tmp_path, pythons={"cp311": Path("/nowhere/python")})).says
    assert f"is {ABI}" in told("interpreters", ours(tmp_path, pythons={"cp399": Path(sys.executable)})).says


@pytest.mark.skipif(platform.machine() != "x86_64", reason="of this machine's own architecture")
@pytest.mark.parametrize("architecture", ["armv7l", "aarch64", "i686"])
def test_an_interpreter_of_another_architecture(tmp_path: Path, architecture: str) -> None:
    check = told("architecture", ours(tmp_path, architecture=architecture))
    assert check.state == "failed"
    assert "(64 bits)" in check.says


@pytest.mark.parametrize(
    ("architecture", "tags", "state"),
    [
        ("armv7l", ("manylinux_2_36_armv8l", "linux_armv7l"), "ok"),
        ("armv7l", ("linux_armv7l", "linux_armv7l"), "ok"),
        ("armv6l", ("linux_armv7l", "linux_armv6l"), "ok"),
        ("armv7l", ("linux_aarch64", "linux_armv7l"), "failed"),
        ("armv7l", ("linux_armv8l", "linux_armv8l"), "failed"),
        ("aarch64", ("manylinux_2_36_aarch64", "manylinux_2_36_aarch64"), "failed"),
    ],
)
def test_a_32_bit_userland_is_known_by_its_tag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str, tags: tuple[str, str], state: str
) -> None:
    monkeypatch.setattr(checks, "_first_tags", lambda *_: tags)
    monkeypatch.setattr(checks, "describe", lambda python: replace(describe(python), bits=32))
    assert told("architecture", ours(tmp_path, architecture=architecture)).state == state


def test_without_the_personality_a_32_bit_target_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "pretence", lambda _: ["/bin/false"])
    check = told("architecture", ours(tmp_path))
    assert check.state == "failed"
    assert "setarch" in check.says


def test_a_sandbox_that_does_not_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise SandboxUnavailable("bubblewrap is not installed: install it")

    monkeypatch.setattr(checks, "check_enclosure", refuse)
    assert told("sandbox", ours(tmp_path)) == Check("sandbox", "failed", "bubblewrap is not installed: install it")


def test_builds_without_a_sandbox_are_said_to_be(tmp_path: Path) -> None:
    check = told("sandbox", ours(tmp_path, sandbox="off"))
    assert check.state == "warning"
    assert "WITHOUT A SANDBOX" in check.says


@pytest.mark.parametrize(
    ("found", "state", "words"),
    [
        ((None, None), "warning", "version 2"),
        ((False, None), "warning", "cgroup_enable=memory"),
        ((True, False), "failed", "Delegate=yes"),
        ((True, None), "ok", "Delegate=yes"),
        ((True, True), "ok", "bound it"),
    ],
)
def test_the_memory_controller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: tuple[bool | None, bool | None], state: str, words: str
) -> None:
    monkeypatch.setattr(checks, "memory_control", lambda: found)
    check = told("memory", ours(tmp_path))
    assert (check.state, words in check.says) == (state, True)


@pytest.mark.parametrize(
    ("root", "own", "marked", "found"),
    [
        (None, "cpu", True, (None, None)),
        ("cpu pids", "cpu pids", True, (False, False)),
        ("cpu memory pids", "cpu", True, (True, False)),
        ("cpu memory pids", "memory pids", True, (True, True)),
        ("cpu memory pids", "memory pids", False, (True, None)),
    ],
)
def test_where_the_memory_controller_is(
    tmp_path: Path, root: str | None, own: str, marked: bool, found: tuple[bool | None, bool | None]
) -> None:
    (tmp_path / "service").mkdir()
    (tmp_path / "service/cgroup.controllers").write_text(own)
    if root is not None:
        (tmp_path / "cgroup.controllers").write_text(root)
    (tmp_path / "own").write_text("0::/service\n")
    assert memory_control(tmp_path, tmp_path / "own", lambda _: marked) == found


def test_a_disk_that_one_build_would_fill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "free_bytes", lambda _: 4096 << 20)
    assert told("disk", ours(tmp_path)).state == "ok"
    check = told("disk", ours(tmp_path, build_disk_mb=4097))
    assert check.state == "failed"
    assert "make space" in check.says


def test_a_clock_from_before_the_software(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    check = told("clock", ours(tmp_path))
    assert check.state == "failed"
    assert "1970-01-01" in check.says


@pytest.mark.parametrize(("seconds", "state"), [(59, "ok"), (61, "failed"), (-61, "failed")])
def test_a_clock_that_is_off_the_databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int, state: str) -> None:
    monkeypatch.setattr(checks, "database_clock", lambda _: datetime.now(UTC) + timedelta(seconds=seconds))
    assert told("clock", ours(tmp_path)).state == state


def test_a_database_that_is_away_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert told("clock", ours(tmp_path)).state == "warning"


@pytest.mark.parametrize(("free", "code"), [(1 << 40, 0), (0, 69)])
def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], free: int, code: int
) -> None:
    monkeypatch.setattr(checks, "free_bytes", lambda _: free)
    (tmp_path / "builder.yml").write_text(
        f"name: pi1\ndatabase: x\nstate_dir: {tmp_path}\npythons: {{{ABI}: {sys.executable}}}\n"
        f"architecture: {platform.machine()}\nos_release: bookworm\nsandbox: off\n"
    )
    command = ["serve", "--check", "--settings", str(tmp_path / "builder.yml")]
    assert main(command) == code
    assert "WITHOUT A SANDBOX" in capsys.readouterr().out
    assert main([*command, "--json"]) == code
    answer = json.loads(capsys.readouterr().out)
    assert answer["ready"] == (code == 0)
    assert {check["name"]: check["state"] for check in answer["checks"]}["disk"] == ("ok" if code == 0 else "failed")
