"""Builds without a sandbox: the same wheels, another user, and nothing left running."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psutil
import pytest

from piwheels_builder.builder import serve
from piwheels_builder.builder.attempt import Attempt
from piwheels_builder.builder.bare import check_bare, sweep
from piwheels_builder.builder.in_memory import MemoryArea
from piwheels_builder.builder.process import run
from piwheels_builder.builder.spool import SpooledBuild
from piwheels_builder.builder.workshop import Workshop
from piwheels_builder.errors import BadInput
from piwheels_builder.queue.batch import LeasedBuild
from piwheels_builder.states import Outcome
from tests.integration.test_build_honest import EXTENSION, SETUP_EXTENSION
from tests.support.builders import an_attempt, builder_settings, leased_build
from tests.support.sdists import SETUPTOOLS, Built, Yard, make_yard, setup_py

#: Not the usual one: every process of it is killed.
UID = 91001
ROOT = os.geteuid() == 0
as_root = pytest.mark.skipif(not ROOT, reason="only root gives builds a user of their own")


@pytest.fixture(scope="module")
def yard() -> Iterator[Yard]:
    # Not pytest's, which nobody else can enter.
    with tempfile.TemporaryDirectory(prefix="bare-") as place:
        Path(place).chmod(0o755)
        yield from _yard(Path(place))


def _yard(place: Path) -> Iterator[Yard]:
    yard = make_yard(place)
    # The one that runs this may lie where only root comes.
    pythons = {abi: Path("/usr/bin/python3") if ROOT else path for abi, path in yard.workshop.pythons.items()}
    workshop = replace(yard.workshop, pythons=pythons, first_build_uid=UID if ROOT else None, sandboxed=False)
    yield replace(yard, workshop=workshop)
    assert list(workshop.state_dir.glob("area/*")) == []


def say(expression: str) -> dict[str, str]:
    return setup_py(f"import os, sys; print('SAID', {expression})")


def said(built: Built) -> str:
    assert built.attempt.outcome is Outcome.BUILT, built.log
    return next(line.removeprefix("SAID ") for line in built.log.splitlines() if line.startswith("SAID "))


def test_the_wheel_is_the_same_as_from_the_sandbox(yard: Yard) -> None:
    bare, sandboxed = yard.build(setup_py()), yard.build(setup_py(), sandboxed=True)
    assert bare.attempt.outcome is Outcome.BUILT, bare.log
    assert bare.attempt.wheel == sandboxed.attempt.wheel
    assert "without a sandbox" in bare.log
    assert "without a sandbox" not in sandboxed.log


def test_a_c_extension(yard: Yard) -> None:
    files = {"demo-1.0/pyproject.toml": SETUPTOOLS, "demo-1.0/setup.py": SETUP_EXTENSION, "demo-1.0/fast.c": EXTENSION}
    assert "-linux_" in yard.build(files).wheel.name


@as_root
def test_it_runs_as_its_slots_user_without_rights(yard: Yard) -> None:
    told = said(yard.build(say("os.getresuid(), os.getgroups(), open('/proc/self/status').read().split()"), slot=2))
    assert told.startswith(f"({UID + 2}, {UID + 2}, {UID + 2}) [] ")
    fields = told.replace("'", "").replace(",", "").split()
    rights = {name: fields[fields.index(name) + 1] for name in ("CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "NoNewPrivs:")}
    assert set(rights.values()) == {"0" * 16, "1"}
    assert rights["NoNewPrivs:"] == "1"


def test_variables_and_input_are_none_of_ours(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    told = said(yard.build(say("sorted(os.environ), os.environ['HOME'], os.environ['TMPDIR'], repr(sys.stdin.read())")))
    assert "SECRET" not in told
    assert "PIP_NO_INDEX" in told
    assert told.endswith(" ''")
    state = str(yard.workshop.state_dir)
    assert told.count(f"{state}/area/") == 2


def test_it_does_not_see_our_options(yard: Yard) -> None:
    assert "adopt" not in said(yard.build(say("sys.argv")))


LEAVE = (
    "import subprocess; p = subprocess.Popen(['sleep', '600'], start_new_session=True, stdout=-3, stderr=-3); print('SAID', p.pid)"
)


@as_root
def test_nothing_of_it_is_left_running(yard: Yard) -> None:
    pid = int(said(yard.build(setup_py(LEAVE))))
    eventually_gone(pid)


@as_root
def test_what_a_killed_builder_left_is_gone_before_the_next_build(yard: Yard) -> None:
    with subprocess.Popen(["sleep", "600"], user=UID, group=UID, extra_groups=[]) as left:
        said(yard.build(say("1")))
        assert left.wait(5) == -9


def test_what_lost_its_parent_is_still_looked_at(yard: Yard) -> None:
    """A daemon that takes too much memory is the build's."""
    body = (
        "import os, time\n"
        "for _ in range(2):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        if os.fork(): os._exit(0)\n"
        "        held = bytearray(b'x') * (100 * 2**20); time.sleep(600)\n"
        "time.sleep(10)\n"
    )
    limits = replace(yard.workshop.limits_of(0), memory_bytes=150 * 2**20)
    built = yard.build(setup_py(body), limits=limits)
    assert built.attempt.outcome is Outcome.OUT_OF_MEMORY, built.log
    assert built.attempt.mechanism in {"watcher", "cgroup"}


def test_the_time_limit_kills_all_of_it(yard: Yard) -> None:
    script = "import os, subprocess; print('SAID', os.getpid(), flush=True); subprocess.run(['sleep', '600'])"
    built = yard.build(setup_py(script), build_seconds=3)
    assert built.attempt.outcome is Outcome.TIMEOUT, built.log
    eventually_gone(int(next(line for line in built.log.splitlines() if line.startswith("SAID ")).split()[1]))


@pytest.mark.parametrize("uid", [None, pytest.param(UID, marks=as_root)])
def test_what_the_builder_started_dies_with_it(uid: int | None) -> None:
    script = (
        "import subprocess, os\n"
        "from piwheels_builder.builder.bare import with_us\n"
        f"line = with_us(['sh', '-c', 'echo $$; exec sleep 600'], {uid})\n"
        "with subprocess.Popen(line, stdout=-1, stderr=-3, text=True) as started:\n"
        "    print(started.stdout.readline(), flush=True)\n"
        "    os._exit(0)\n"
    )
    told = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    eventually_gone(int(told.stdout))


def test_bubblewrap_is_never_asked_for(yard: Yard) -> None:
    started: list[str] = []

    def noting(command: Any, **how: Any) -> Any:
        started.append(" ".join(map(str, command)))
        return run(command, **how)

    files = setup_py("import wheel")
    files["demo-1.0/pyproject.toml"] = SETUPTOOLS.replace('"setuptools"', '"setuptools", "wheel"')
    assert yard.build(files, runner=noting).wheel
    assert [line for line in started if "uv" in line]
    assert not [line for line in started if "bwrap" in line]


@pytest.mark.parametrize("uid", [0, 1000, 61184, 65534])
def test_nobodys_processes_but_a_builds_are_swept(uid: int) -> None:
    with pytest.raises(BadInput, match="first_build_uid"):
        sweep(uid)


def test_the_check_says_what_is_in_the_way(tmp_path: Path) -> None:
    if not ROOT:
        check_bare(tmp_path, None, [Path(sys.executable)])
        return
    tmp_path.chmod(0o700)
    with pytest.raises(BadInput, match=r"chmod o\+x"):
        check_bare(tmp_path, UID, [Path("/usr/bin/python3")])


def eventually_gone(pid: int) -> None:
    deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(("sandbox", "warm"), [("off", False), ("bubblewrap", True)])
def test_a_service_without_a_sandbox_has_neither_warm_parents_nor_builds_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, sandbox: str, warm: bool
) -> None:
    seen: list[Workshop] = []

    def note(leased: LeasedBuild, lease_id: UUID, workshop: Workshop, _delivery: Path) -> Attempt:
        seen.append(workshop)
        return an_attempt(SpooledBuild(lease_id, leased))

    monkeypatch.setattr(serve, "build", note)
    monkeypatch.setattr(serve, "memory_area", lambda *_, **__: MemoryArea(tmp_path, 1))
    serve.build_function(builder_settings(tmp_path, sandbox=sandbox))(leased_build(1), uuid4(), 0, tmp_path)
    (workshop,) = seen
    assert (workshop.sandboxed, workshop.warm is not None, workshop.in_memory is not None) == (warm, warm, warm)
