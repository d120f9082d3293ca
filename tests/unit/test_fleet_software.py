"""What is installed on a host: looked for by one file, made aside, never half in place."""

import runpy
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail

MODULE = Path(__file__).parents[2] / "library/fleet_software.py"
USUAL = {
    "extras": [],
    "packages": ["rsync"],
    "index": "",
    "compiled": False,
    "os_releases": [],
    "playbooks_version": "",
}


@pytest.fixture
def software(tmp_path: Path) -> Callable[..., Any]:
    kind = runpy.run_path(str(MODULE))["Software"]

    def fill(_: Any, place: Path, wheel: str, _tools: Path) -> None:
        (place / "bin").mkdir(parents=True)
        (place / "bin/python").write_text("")
        if wheel == "cut":
            raise KeyboardInterrupt
        (place / "complete").write_text("")

    @contextmanager
    def tools(_: Any, bootstrap: Path) -> Iterator[Path]:
        yield bootstrap

    kind._fill, kind._tools = fill, tools
    return lambda version, **more: kind({**USUAL, "directory": str(tmp_path), "version": version, **more})


def test_a_version_is_installed_once(software: Callable[..., Any], tmp_path: Path) -> None:
    assert software("1").missing() == ["wheel"]
    software("1").install_wheel("w")
    assert software("1").missing() == []
    stamped = (tmp_path / "installed").stat().st_mtime_ns
    assert software("1").missing() == []
    assert (tmp_path / "installed").stat().st_mtime_ns == stamped


@pytest.mark.parametrize("other", [{"extras": ["controller"]}, {"packages": ["rsync", "sudo"]}, {"compiled": True}])
def test_what_is_asked_of_it_is_part_of_a_version(software: Callable[..., Any], other: dict[str, Any]) -> None:
    software("1").install_wheel("w")
    assert software("1", **other).missing() == ["wheel"]


def test_an_interrupted_installation_leaves_the_old_version_and_is_made_good(software: Callable[..., Any], tmp_path: Path) -> None:
    software("1").install_wheel("w")
    before = (tmp_path / "venv").readlink()
    with pytest.raises(KeyboardInterrupt):
        software("2").install_wheel("cut")
    assert (tmp_path / "venv").readlink() == before
    assert (tmp_path / "venv/bin/python").exists()
    assert software("2").missing() == ["wheel"]
    # What was left of it is no version.
    left = next((tmp_path / "versions").glob("2-*"))
    assert not (left / "complete").exists()


def test_the_version_before_is_kept_and_older_ones_go(software: Callable[..., Any], tmp_path: Path) -> None:
    for version in ("1", "2", "3"):
        software(version).install_wheel("w")
    assert sorted(path.name[0] for path in (tmp_path / "versions").iterdir()) == ["2", "3"]
    assert (tmp_path / "venv").readlink().name.startswith("3-")


def test_what_services_run_from_outlives_a_run_that_died_before_its_stamp(software: Callable[..., Any], tmp_path: Path) -> None:
    for version in ("1", "2", "3"):
        software(version).install_wheel("w")
    # 3 is linked, and services run from 2 still.
    (tmp_path / "installed").unlink()
    software("3").install_wheel("w")
    assert sorted(path.name[0] for path in (tmp_path / "versions").iterdir()) == ["2", "3"]


def test_playbooks_are_unpacked_beside_the_ones_before(software: Callable[..., Any], tmp_path: Path) -> None:
    for version in ("p1", "p2", "p3"):
        (tmp_path / "build.yml").write_text(version)
        with tarfile.open(tmp_path / "playbooks.tar", "w") as tar:
            tar.add(tmp_path / "build.yml", "build.yml")
        wanted = software("1", playbooks_version=version)
        assert wanted.missing() == ["wheel", "playbooks"]
        wanted.install_playbooks(str(tmp_path / "playbooks.tar"))
        assert wanted.missing() == ["wheel"]
        assert (tmp_path / "checkout/build.yml").read_text() == version
    assert sorted(path.name for path in (tmp_path / "checkouts").iterdir()) == ["p2", "p3"]


def test_a_host_that_cannot_be_one_is_told_why(software: Callable[..., Any]) -> None:
    with pytest.raises(Exception, match="install Debian or Raspberry Pi OS sid"):
        software("1", os_releases=["sid"]).check_host()


class Apt:
    """Stands for run(): apt-get update says ``says`` and fails, ``times`` times."""

    def __init__(self, refused: type[Exception], says: str, times: int) -> None:
        self.refused, self.says, self.left = refused, says, times

    def __call__(self, *_: str, **__: Any) -> str:
        self.left -= 1
        if self.left >= 0:
            raise self.refused(self.says)
        return ""


@pytest.mark.parametrize(
    ("says", "times", "slept", "fails"),
    [
        ("E: Could not get lock /var/lib/apt/lists/lock", 3, 3, False),
        ("E: Could not get lock /var/lib/apt/lists/lock", 99, 9, True),
        ("E: no such archive", 1, 0, True),
    ],
)
def test_lists_that_somebody_else_reads_are_waited_for(says: str, times: int, slept: int, fails: bool) -> None:
    names = runpy.run_path(str(MODULE))
    update = names["update_lists"]
    sleeps: list[float] = []
    update.__globals__["run"] = Apt(names["Refused"], says, times)
    update.__globals__["time"] = SimpleNamespace(sleep=sleeps.append)
    with pytest.raises(names["Refused"], match=says) if fails else nullcontext():
        update("apt-get")
    assert sleeps == [15] * slept


def test_an_index_with_a_password_stands_in_no_command(tmp_path: Path) -> None:
    names = runpy.run_path(str(MODULE))
    ran: list[tuple[tuple[str, ...], str]] = []
    fill = names["Software"]._fill
    (tmp_path / "place").mkdir()
    fill.__globals__["shutil"] = SimpleNamespace(rmtree=lambda *_, **__: None)
    fill.__globals__["run"] = lambda *command, env=None: ran.append((command, (env or {}).get("UV_DEFAULT_INDEX", "")))
    index = "https://me:s3cret@index.invalid/simple"
    fill(names["Software"]({**USUAL, "directory": str(tmp_path), "index": index}), tmp_path / "place", "w", tmp_path)
    assert not any("s3cret" in word for command, _ in ran for word in command)
    assert index in [given for command, given in ran if "install" in command]


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (OSError(28, "No space left on device"), "cannot be packed into .*No space left"),
        (subprocess.TimeoutExpired(["pip"], 600), "took longer than 600 s: run this again"),
    ],
)
def test_a_checkout_that_cannot_be_packed_is_told_in_words(trouble: Exception, said: str) -> None:
    packing = runpy.run_path(str(MODULE.parents[1] / "plugins/action/fleet_software.py"))["packing"]
    with pytest.raises(AnsibleActionFail, match=said), packing():
        raise trouble
