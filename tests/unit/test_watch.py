"""The watcher against real processes: each limit is reached by a program that does, and kept by one that does not."""

import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from piwheels_builder.builder import crowding, processes, usage
from piwheels_builder.builder.limits import Limits
from piwheels_builder.builder.machine import Memory
from piwheels_builder.builder.process import Ended, Stop, run
from piwheels_builder.builder.processes import Descendants
from piwheels_builder.builder.usage import DiskUsage
from piwheels_builder.builder.watch import RunWatch, watch_for

MB = 2**20
#: All else is plenty, so that only what a test is about can end it.
LIMITS = Limits(memory_bytes=2**40, processes=10_000, disk_bytes=2**40, disk_files=10**9, stall_seconds=3600)


def watched(program: str, place: Path, *, seconds: float = 20, output: io.BytesIO | None = None, **limits: Any) -> Ended:
    """Run a Python program that ends by itself after a while, in ``place``, which is also what is counted as its disk."""
    asked = replace(LIMITS, **limits)
    program = f"import os, sys, time, subprocess, signal\nsignal.alarm(30)\nos.chdir({str(place)!r})\n{program}"
    return run(
        [sys.executable, "-S", "-c", program],
        environment={"PATH": os.environ["PATH"]},
        output=output or io.BytesIO(),
        seconds=seconds,
        output_bytes=10**6,
        watch=RunWatch(Descendants(asked), asked, [place]),
    )


HOG = "held = bytearray(200 << 20)\nfor place in range(0, len(held), 4096): held[place] = 1\ntime.sleep({seconds})"


def test_memory_over_the_limit(tmp_path: Path) -> None:
    ended = watched(HOG.format(seconds=20), tmp_path, memory_bytes=100 * MB)
    assert ended.stop == Stop("memory", "watcher")
    assert ended.peak_memory is not None
    assert 100 * MB < ended.peak_memory < 400 * MB


def test_memory_below_the_limit_is_told_as_it_was(tmp_path: Path) -> None:
    ended = watched(HOG.format(seconds=1), tmp_path, memory_bytes=400 * MB)
    assert (ended.stop, ended.exit_code) == (None, 0)
    assert ended.peak_memory is not None
    assert 200 * MB < ended.peak_memory < 300 * MB


def test_memory_counts_for_all_processes_together(tmp_path: Path) -> None:
    # Taken after the fork, so that none of it is shared.
    program = f"for _ in range(4):\n  if not os.fork(): break\n{HOG.format(seconds=20)}".replace("200 <<", "40 <<")
    assert watched(program, tmp_path, memory_bytes=120 * MB).stop == Stop("memory", "watcher")


def test_what_forks_share_counts_once(tmp_path: Path) -> None:
    program = "held = os.urandom(60 << 20)\nfor _ in range(4):\n  if not os.fork(): break\ntime.sleep(1.5)"
    ended = watched(program, tmp_path, memory_bytes=150 * MB)
    assert (ended.stop, ended.exit_code) == (None, 0)
    assert ended.peak_memory is not None
    assert 60 * MB < ended.peak_memory < 150 * MB


def test_memory_in_a_file_without_a_name_counts(tmp_path: Path) -> None:
    program = "hidden = os.memfd_create('x')\nfor _ in range(200): os.write(hidden, bytes(1 << 20))\ntime.sleep(20)"
    assert watched(program, tmp_path, memory_bytes=100 * MB).stop == Stop("memory", "watcher")


@pytest.mark.parametrize(
    "bomb",
    [
        "children = [subprocess.Popen(['sleep', '20']) for _ in range(50)]\ntime.sleep(20)",
        "import threading\nfor _ in range(50): threading.Thread(target=time.sleep, args=(20,)).start()",
        # Each leaves its parent at once.
        "for _ in range(50):\n  if os.fork(): os.wait()\n  elif os.fork(): os._exit(0)\n  else: break\ntime.sleep(20)",
    ],
    ids=["processes", "threads", "orphans"],
)
def test_processes_over_the_limit(tmp_path: Path, bomb: str) -> None:
    # Without a pid namespace orphans would go to this machine's init: here the first process adopts them.
    adopt = "import ctypes; ctypes.CDLL(None).prctl(36, 1)\n"
    assert watched(adopt + bomb, tmp_path, processes=20).stop == Stop("processes", "watcher")


def test_processes_that_come_and_go_do_not_disturb(tmp_path: Path) -> None:
    ended = watched("for _ in range(300): subprocess.run(['true'])", tmp_path, processes=20)
    assert (ended.stop, ended.exit_code) == (None, 0)


def test_a_sleeper_has_stalled(tmp_path: Path) -> None:
    began = time.monotonic()
    assert watched("time.sleep(20)", tmp_path, stall_seconds=1).stop == Stop("stalled", "watcher")
    assert 1 <= time.monotonic() - began < 6


@pytest.mark.parametrize(
    "busy",
    [
        "time.sleep(0.3)\n  print('.', flush=True)",
        "until = time.thread_time() + 0.05\n  while time.thread_time() < until: pass\n  time.sleep(0.3)",
    ],
)
def test_who_prints_or_computes_has_not_stalled(tmp_path: Path, busy: str) -> None:
    ended = watched(f"for _ in range(9):\n  {busy}", tmp_path, stall_seconds=1.5)
    assert (ended.stop, ended.exit_code) == (None, 0)


FILL = "for number in range(200): open(f'file{number}', 'wb').write(os.urandom(1 << 18))\ntime.sleep(20)"


def test_disk_space_over_the_limit(tmp_path: Path) -> None:
    assert watched(FILL, tmp_path, disk_bytes=20 * MB).stop == Stop("disk", "watcher")


def test_an_open_file_without_a_name_fills_the_disk_too(tmp_path: Path) -> None:
    program = (
        "file = open('x', 'wb')\nos.unlink('x')\nfor _ in range(50): file.write(os.urandom(1 << 20))\nfile.flush()\ntime.sleep(20)"
    )
    assert watched(program, tmp_path, disk_bytes=20 * MB).stop == Stop("disk", "watcher")


@pytest.mark.parametrize("mode", [0o300, 0o600])
def test_a_closed_directory_is_no_way_out(tmp_path: Path, mode: int) -> None:
    closed = f"os.mkdir('d')\nfor n in range(50): open(f'd/{{n}}', 'wb').write(os.urandom(1 << 20))\nos.chmod('d', {mode})"
    assert watched(f"{closed}\ntime.sleep(20)", tmp_path, disk_bytes=20 * MB).stop == Stop("disk", "watcher")


def test_too_many_files(tmp_path: Path) -> None:
    program = "for number in range(3000): open(f'file{number}', 'w').close()\ntime.sleep(20)"
    assert watched(program, tmp_path, disk_files=1000).stop == Stop("disk", "watcher")


def test_a_tree_deeper_than_a_path_is_no_way_out(tmp_path: Path) -> None:
    program = "for _ in range(60):\n  os.mkdir('d' * 200)\n  os.chdir('d' * 200)\n" + FILL
    assert watched(program, tmp_path, disk_bytes=20 * MB).stop == Stop("disk", "watcher")


@pytest.mark.parametrize(("levels", "over"), [(128, False), (129, True)])
def test_a_tree_too_deep_to_be_walked_is_too_much(tmp_path: Path, levels: int, over: bool) -> None:
    # The second at each level has the walk come back to it.
    (tmp_path / "/".join("d" * levels)).mkdir(parents=True)
    for depth in range(levels):
        (tmp_path / "/".join("d" * depth) / "e").mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    disk = DiskUsage(LIMITS, [tmp_path], lambda: ())
    while not (found := disk.exceeded()) and not disk.found.files:
        time.sleep(0.01)
    assert (found, disk.found.files) == (over, 0 if over else 2 * levels)
    assert len(list(Path("/proc/self/fd").iterdir())) == before + 1, "only the top stays open"


@contextmanager
def as_somebody(directory: Path) -> Iterator[None]:
    """As an ordinary user, who owns what is in the directory, but can't get there by its path."""
    if os.geteuid() != 0:
        yield
        return
    for place in (directory, *directory.rglob("*")):
        os.chown(place, 65534, 65534, follow_symlinks=False)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("mode", [0o000, 0o300, 0o600])
def test_a_directory_is_opened_that_its_own_user_has_closed(tmp_path: Path, mode: int) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_bytes(os.urandom(2 * MB))
    disk = DiskUsage(replace(LIMITS, disk_bytes=MB), [tmp_path], lambda: ())
    for closed in (tmp_path / "a/b", tmp_path / "a", tmp_path):
        closed.chmod(mode)
    with as_somebody(tmp_path):
        assert disk.exceeded()


@pytest.mark.parametrize("after", range(8))
def test_a_link_put_in_the_way_of_a_walk_leads_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    for name, value in [("_STEP", 1), ("_LEAST_SLICE", 0.0), ("_SHARES", (0.0, 0.0, 0.0))]:
        monkeypatch.setattr(usage, name, value)
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for place in (inside / "a/b/c", outside / "b/c"):
        place.mkdir(parents=True)
    (outside / "b/c/file").write_bytes(os.urandom(MB))
    disk = DiskUsage(replace(LIMITS, disk_bytes=MB // 2), [inside], lambda: ())
    (outside / "b/c").chmod(0)
    with as_somebody(tmp_path):
        # Each takes one step.
        for _ in range(after):
            assert not disk.exceeded()
    (inside / "a").rename(inside / "z")
    # By a path that somebody may go, too.
    (inside / "a").symlink_to("../outside")
    with as_somebody(tmp_path):
        for _ in range(20):
            assert not disk.exceeded()
    assert (outside / "b/c").stat().st_mode & 0o777 == 0


def test_open_files_are_walked_a_slice_at_a_time(tmp_path: Path) -> None:
    several = [os.open(os.devnull, os.O_RDONLY) for _ in range(200)]
    hidden = os.memfd_create("x")
    os.write(hidden, bytes(MB))
    try:
        disk = DiskUsage(LIMITS, [tmp_path], lambda: [os.getpid()] * 200)
        began = time.thread_time()
        assert not disk.exceeded()
        assert time.thread_time() - began < 0.02
        for _ in range(10):
            disk.exceeded()
        assert (disk.found.files, disk.hidden >= MB) == (0, True), "what is found counts before the walk is over"
    finally:
        for descriptor in (*several, hidden):
            os.close(descriptor)


def test_disk_use_below_the_limits(tmp_path: Path) -> None:
    # A file with many names is one file of one size.
    program = "open('x', 'wb').write(os.urandom(8 << 20))\nfor n in range(20): os.link('x', str(n))\ntime.sleep(1)"
    ended = watched(program, tmp_path, disk_bytes=12 * MB, disk_files=50)
    assert (ended.stop, ended.exit_code) == (None, 0)


def test_the_directories_may_be_renamed(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    usage = DiskUsage(replace(LIMITS, disk_bytes=MB), [before], lambda: ())
    before.rename(after)
    (after / "file").write_bytes(os.urandom(2 * MB))
    assert usage.exceeded()


def test_a_large_tree_is_walked_a_slice_at_a_time(tmp_path: Path) -> None:
    for number in range(5000):
        (tmp_path / str(number)).touch()
    usage = DiskUsage(LIMITS, [tmp_path], lambda: ())
    began = time.thread_time()
    assert not usage.exceeded()
    assert time.thread_time() - began < 0.01
    while not usage.found.files:
        time.sleep(0.02)
        assert not usage.exceeded()
    assert usage.found.files == 5000


def test_memory_is_divided_no_further_than_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = processes._content

    def content(path: str) -> bytes:
        read.append(path)
        return real(path)

    monkeypatch.setattr(processes, "_content", content)
    shell = ["sh", "-c", "for _ in 1 2 3 4 5 6; do sleep 20 & done; wait"]
    bounds = Descendants(replace(LIMITS, memory_bytes=1))
    with subprocess.Popen(shell, start_new_session=True) as run:
        try:
            while len(bounds.pids) < 7:
                assert bounds.look(run.pid, 0) == Stop("memory", "watcher")
                time.sleep(0.02)
            read.clear()
            assert bounds.look(run.pid, 0) == Stop("memory", "watcher")
        finally:
            os.killpg(run.pid, 9)
    assert len([path for path in read if path.endswith("rollup")]) == 1


def test_a_process_with_the_number_of_a_stranger_that_is_gone_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sh", "-c", "(sleep 20 & wait) & wait"], start_new_session=True) as run:
        try:
            before = Descendants(LIMITS)
            deadline = time.monotonic() + 10
            while len(before.pids) < 3 and time.monotonic() < deadline:
                # Made before the run has more than one process, but for its first.
                monkeypatch.setattr(processes, "_there", dict)
                before = Descendants(LIMITS)
                monkeypatch.undo()
                before.look(run.pid, 0)
            ours = set(before.pids)
            assert len(ours) == 3
            there = processes._there()
            # The numbers were others' when the watch began.
            monkeypatch.setattr(processes, "_there", lambda: {pid: inode + (pid in ours) for pid, inode in there.items()})
            bounds = Descendants(LIMITS)
            monkeypatch.undo()
            for _ in range(2):
                bounds.look(run.pid, 0)
                assert set(bounds.pids) == ours
        finally:
            os.killpg(run.pid, 9)


def test_the_inode_tells_two_processes_of_one_number_apart() -> None:
    there = processes._there()
    assert there[os.getpid()] == Path(f"/proc/{os.getpid()}").stat().st_ino
    assert len(set(there.values())) == len(there)


@pytest.mark.parametrize("exit_code", [-9, 137])
def test_killed_while_the_kernel_killed_for_memory(monkeypatch: pytest.MonkeyPatch, exit_code: int) -> None:
    kills = iter([3, 4])
    monkeypatch.setattr(processes, "oom_kills", lambda: next(kills))
    assert Descendants(LIMITS).end(Ended(exit_code)).stop == Stop("memory", "kernel")


def test_the_kernels_count_of_those_it_killed() -> None:
    counted = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    assert processes.oom_kills() == int(counted["oom_kill"])


@pytest.mark.parametrize(("exit_code", "after"), [(-9, 3), (137, 3), (1, 4), (0, 4)])
def test_who_kills_itself_or_fails_otherwise_is_not_out_of_memory(
    monkeypatch: pytest.MonkeyPatch, exit_code: int, after: int
) -> None:
    kills = iter([3, after])
    monkeypatch.setattr(processes, "oom_kills", lambda: next(kills))
    assert Descendants(LIMITS).end(Ended(exit_code)).stop is None


def test_the_kernel_is_offered_builds_first(tmp_path: Path) -> None:
    output = io.BytesIO()
    watched("time.sleep(0.5)\nprint(open('/proc/self/oom_score_adj').read())", tmp_path, output=output)
    assert output.getvalue().split() == [b"1000"]


@contextmanager
def in_background(program: str, place: Path, ended: list[Ended]) -> Iterator[None]:
    thread = threading.Thread(target=lambda: ended.append(watched(program, place)))
    thread.start()
    try:
        yield
    finally:
        thread.join(30)


def test_when_the_machine_runs_out_of_memory_the_youngest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = [10**9]
    monkeypatch.setattr(crowding, "memory", lambda: Memory(10**9, free[0]))
    old: list[Ended] = []
    with in_background("time.sleep(3)", tmp_path, old):
        time.sleep(1)
        free[0] = 10**6
        assert watched("time.sleep(20)", tmp_path).stop == Stop("crowded", "watcher")
    assert old == [replace(old[0], stop=None, exit_code=0)]


def test_who_runs_alone_is_left_to_its_own_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowding, "memory", lambda: Memory(10**9, 0))
    assert watched("time.sleep(1)", tmp_path).stop is None


def test_looking_takes_a_small_part_of_the_time(tmp_path: Path) -> None:
    watch = RunWatch(Descendants(LIMITS), LIMITS, [tmp_path])
    watch.look(os.getpid(), 0)
    began = time.thread_time()
    for _ in range(10):
        watch.look(os.getpid(), 0)
    spent = (time.thread_time() - began) / 10
    assert watch.interval >= min(2.0, 10 * spent)
    watch.end(Ended(0))


def test_the_form_that_this_machine_allows_holds_a_limit(tmp_path: Path) -> None:
    limits = replace(LIMITS, processes=20)
    sleepers = "for _ in $(seq 50); do sleep 20 & done; wait"
    ended = run(
        ["sh", "-c", sleepers],
        environment={"PATH": os.environ["PATH"]},
        output=io.BytesIO(),
        seconds=20,
        output_bytes=10**6,
        watch=watch_for(limits, slot=os.getpid(), directories=[tmp_path]),
    )
    assert ended.stop is not None
    assert ended.stop.limit == "processes"
