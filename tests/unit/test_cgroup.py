"""Control groups against a directory that stands in for the kernel's; `make machine` has the kernel itself."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from piwheels_builder.builder.cgroup import Group, delegated
from piwheels_builder.builder.limits import Limits
from piwheels_builder.builder.process import Ended, Stop

LIMITS = Limits(memory_bytes=100, processes=20)
CONTROLLERS = "cpuset cpu io memory pids"


class Kernel:
    """A hierarchy in ``root`` with one service's group in it, and what the kernel would write there."""

    def __init__(self, root: Path, controllers: str = CONTROLLERS) -> None:
        self.root = root / "cgroup"
        self.base = self.root / "system.slice/builder.service"
        self.base.mkdir(parents=True)
        (self.root / "cgroup.controllers").write_text(CONTROLLERS)
        (self.base / "cgroup.controllers").write_text(controllers)
        (self.base / "cgroup.procs").write_text("")
        self.own = root / "self"
        self.own.write_text("0::/system.slice/builder.service\n")

    def delegated(self, *, marked: bool = True) -> Path | None:
        return delegated(self.root, self.own, lambda group: marked and group == self.base)

    def group(self, **files: str) -> Path:
        """The group of slot 0 as it is while a run lasts; a directory with files in it can't be removed as the kernel's can."""
        path = self.base / "build-0"
        for name, content in files.items():
            (path / name.replace("_", ".", 1)).write_text(content)
        return path


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


@pytest.fixture(autouse=True)
def _removable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel removes a group whose only content are its own files."""
    remove = Path.rmdir

    def rmdir(path: Path) -> None:
        for file in path.iterdir():
            assert file.is_file()
            file.unlink()
        remove(path)

    monkeypatch.setattr(Path, "rmdir", rmdir)


def test_a_delegated_group_is_made_ready(kernel: Kernel) -> None:
    (kernel.base / "cgroup.procs").write_text(f"{os.getpid()}\n")
    assert kernel.delegated() == kernel.base
    assert (kernel.base / "service/cgroup.procs").read_text() == str(os.getpid())
    assert (kernel.base / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"


def test_a_group_that_was_not_delegated_is_left_alone(kernel: Kernel) -> None:
    assert kernel.delegated(marked=False) is None
    assert [path.name for path in sorted(kernel.base.iterdir())] == ["cgroup.controllers", "cgroup.procs"]


@pytest.mark.parametrize("controllers", ["", "cpu pids", "cpu memory"])
def test_without_the_controllers_it_is_left_alone(tmp_path: Path, controllers: str) -> None:
    kernel = Kernel(tmp_path, controllers)
    assert kernel.delegated() is None
    assert not (kernel.base / "service").exists()


@pytest.mark.parametrize("own", ["", "4:memory:/x\n1:name=systemd:/y\n"])
def test_without_version_2_there_is_none(kernel: Kernel, own: str) -> None:
    kernel.own.write_text(own)
    assert kernel.delegated() is None


def test_in_the_hybrid_layout_there_is_none(kernel: Kernel) -> None:
    (kernel.root / "cgroup.controllers").unlink()
    assert kernel.delegated() is None


def test_a_group_that_refuses_is_said_and_not_used(kernel: Kernel, caplog: pytest.LogCaptureFixture) -> None:
    (kernel.base / "cgroup.subtree_control").mkdir()
    assert kernel.delegated() is None
    assert "cannot be used" in caplog.text


def test_this_process_may_ask_anywhere() -> None:
    """Whatever this machine has, asking only reads unless it is marked as ours."""
    assert delegated(is_marked=lambda _group: False) is None


def test_the_limits_stand_before_anything_runs(kernel: Kernel) -> None:
    path = kernel.base / "build-0"
    prefix = Group(kernel.base, 0, LIMITS).prefix()
    assert prefix[0] == "/bin/sh"
    assert prefix[-1] == str(path)
    written = {file.name: file.read_text() for file in path.iterdir()}
    assert written == {"memory.max": "100", "memory.oom.group": "1", "pids.max": "20"}


def test_the_prefix_puts_the_program_into_the_group(kernel: Kernel, capfd: pytest.CaptureFixture[str]) -> None:
    prefix = Group(kernel.base, 0, LIMITS).prefix()
    assert os.spawnvp(os.P_WAIT, prefix[0], [*prefix, "echo", "it ran", "with arguments"]) == 0
    assert capfd.readouterr().out == "it ran with arguments\n"
    assert kernel.group().joinpath("cgroup.procs").read_text() == "0\n"


def test_a_program_that_cannot_be_put_there_does_not_run(kernel: Kernel, capfd: pytest.CaptureFixture[str]) -> None:
    prefix = Group(kernel.base, 0, LIMITS).prefix()
    (kernel.group() / "cgroup.procs").mkdir()
    assert os.spawnvp(os.P_WAIT, prefix[0], [*prefix, "echo", "it ran"]) != 0
    told = capfd.readouterr()
    assert told.out == ""
    assert told.err.startswith("cgroup: ")


def test_admitting(kernel: Kernel) -> None:
    group = Group(kernel.base, 0, LIMITS)
    group.admit(4711)
    assert group.pids == [4711]


def test_swap_and_weight_are_set_where_the_kernel_has_them(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    make = Path.mkdir

    def mkdir(path: Path) -> None:
        make(path)
        for name in ("memory.swap.max", "cpu.weight"):
            (path / name).write_text("max")

    monkeypatch.setattr(Path, "mkdir", mkdir)
    Group(kernel.base, 0, LIMITS).admit(1)
    assert (kernel.group() / "memory.swap.max").read_text() == "0"
    assert int((kernel.group() / "cpu.weight").read_text()) < 100


def test_a_group_that_was_left_over_is_made_anew(kernel: Kernel) -> None:
    Group(kernel.base, 0, LIMITS).admit(1)
    kernel.group(memory_events="oom_kill 7\n", pids_events="max 9\n")
    again = Group(kernel.base, 0, LIMITS)
    again.admit(2)
    assert again.pids == [2]
    assert again.end(Ended(1)) == Ended(1)


def test_peak_memory_is_what_processes_held(kernel: Kernel) -> None:
    group = Group(kernel.base, 0, LIMITS)
    group.admit(1)
    for anon in (50, 70, 20):
        # Of the files five bytes live in memory alone, and 1000 do not.
        kernel.group(
            memory_stat=f"anon {anon}\nfile 1005\nshmem 5\nslab_reclaimable 10\n",
            memory_current=str(anon + 1005 + 10),
            cpu_stat="usage_usec 2500000\n",
        )
        assert group.look(1, 0) is None
    assert group.cpu_seconds() == 2.5
    assert group.end(Ended(0)) == Ended(0, None, 75)
    assert not kernel.group().exists()


def test_what_the_kernel_killed_for_memory(kernel: Kernel) -> None:
    group = Group(kernel.base, 0, LIMITS)
    group.admit(1)
    kernel.group(memory_events="low 0\noom 1\noom_kill 3\n")
    assert group.end(Ended(137)) == Ended(137, Stop("memory", "cgroup"), 100)


def test_what_is_held_at_the_process_limit_must_go(kernel: Kernel) -> None:
    group = Group(kernel.base, 0, LIMITS)
    group.admit(1)
    kernel.group(pids_events="max 0\n")
    assert group.look(1, 0) is None
    kernel.group(pids_events="max 3\n")
    assert group.look(1, 0) == Stop("processes", "cgroup")


@pytest.mark.parametrize(("before", "after"), [(Ended(1), Stop("processes", "cgroup")), (Ended(0), None)])
def test_who_failed_at_the_process_limit_between_two_looks(kernel: Kernel, before: Ended, after: Stop | None) -> None:
    group = Group(kernel.base, 0, LIMITS)
    group.admit(1)
    kernel.group(pids_events="max 3\n")
    assert group.end(before) == replace(before, stop=after)


@contextmanager
def obeying(group: Path) -> Iterator[None]:
    """A kernel that empties the group once cgroup.kill is written."""
    (group / "cgroup.kill").write_text("")
    (group / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    done = threading.Event()

    def obey() -> None:
        while not done.wait(0.01):
            if (group / "cgroup.kill").read_text() == "1":
                (group / "cgroup.events").write_text("populated 0\nfrozen 0\n")
                return

    thread = threading.Thread(target=obey)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_all_are_killed_before_it_is_removed(kernel: Kernel) -> None:
    group = Group(kernel.base, 0, LIMITS)
    group.admit(1)
    with obeying(kernel.group()):
        group.end(Ended(0))
    assert not kernel.group().exists()


def test_a_run_that_never_started_leaves_nothing(kernel: Kernel) -> None:
    assert Group(kernel.base, 0, LIMITS).end(Ended(1)) == Ended(1)
