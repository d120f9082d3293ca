"""Bounds of a run by the kernel itself, in a subtree of control groups that systemd has given this service (Delegate=yes).

    <ours>/service/         this process
    <ours>/build-<slot>/    all processes of the slot's build; made for each run, and removed after it

kernel.org, admin-guide/cgroup-v2; systemd.io/CGROUP_DELEGATION. A group that can be written, and was not
delegated, is left alone: somebody else manages it.
"""

import logging
import os
import signal
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from piwheels_builder.builder.limits import Limits
from piwheels_builder.builder.process import Ended, Stop
from piwheels_builder.builder.processes import offer_to_kernel

log = logging.getLogger(__name__)

_NEEDED = {"memory", "pids"}
#: The service's own part is 100: it must come to word among builds that take all there is.
_BUILD_WEIGHT = 50
_END_SECONDS = 10.0
#: The message of a failure begins with the last word: triage knows by it that nothing of the release was started.
_PREFIX = ("/bin/sh", "-c", 'echo 0 > "$1/cgroup.procs" && shift && exec "$@"', "cgroup")


def delegated(
    mounted: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup"), is_marked: Callable[[Path], bool] | None = None
) -> Path | None:
    """The subtree of this process, made ready for groups of builds, with the process in a leaf of it. None where it has none.

    Called before the process has children. Where others share its group they are not ours to move, and there is none either.
    """
    base = _own_group(mounted, own)
    if base is None or not (is_marked or _is_marked)(base):
        return None
    try:
        if not set((base / "cgroup.controllers").read_text().split()) >= _NEEDED:
            return None
        _move_to_leaf(base)
        _enable(base)
    except OSError as error:
        log.warning("the control group %s is ours, and cannot be used: %s", base, error)
        return None
    return base


def memory_control(
    mounted: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup"), is_marked: Callable[[Path], bool] | None = None
) -> tuple[bool | None, bool | None]:
    """Whether control groups bound memory: of this host, None where it has none of version 2; and of the group delegated to us.

    That is None where none was. Changes nothing.
    """
    ours = _own_group(mounted, own)
    if ours is None:
        return None, None
    there = "memory" in (mounted / "cgroup.controllers").read_text().split()
    if not (is_marked or _is_marked)(ours):
        return there, None
    return there, "memory" in (ours / "cgroup.controllers").read_text().split()


def _own_group(mounted: Path, own: Path) -> Path | None:
    lines = own.read_text().splitlines()
    path = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    # In the hybrid layout the controllers are elsewhere.
    return mounted / path if path is not None and (mounted / "cgroup.controllers").exists() else None


def _is_marked(group: Path) -> bool:
    """Whether systemd delegated it; others than root learn that from newer ones only."""
    for name in ("user.delegate", "trusted.delegate"):
        with suppress(OSError):
            if os.getxattr(group, name) == b"1":
                return True
    return False


def _move_to_leaf(base: Path) -> None:
    """A group with controllers for its children may not hold processes itself."""
    leaf = base / "service"
    leaf.mkdir(exist_ok=True)
    (leaf / "cgroup.procs").write_text(str(os.getpid()))


def _enable(base: Path) -> None:
    there = set((base / "cgroup.controllers").read_text().split())
    wanted = sorted(there & {*_NEEDED, "cpu"})
    (base / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in wanted))


class Group:
    """Bounds of one run by a group of its own: ``Bounds`` in watch.py says what the methods are. Raises OSError.

    The peak is of what processes hold themselves, as seen now and then: memory.peak has files that were only read or written in it.
    """

    def __init__(self, base: Path, slot: int, limits: Limits) -> None:
        self._path = base / f"build-{slot}"
        self._limits = limits
        self._peak: int | None = None

    @property
    def pids(self) -> Collection[int]:
        return list(map(int, self._read("cgroup.procs").split()))

    def prefix(self) -> Sequence[str]:
        self._make()
        return (*_PREFIX, os.fspath(self._path))

    def admit(self, pid: int) -> None:
        self._make()
        (self._path / "cgroup.procs").write_text(str(pid))

    def look(self, pid: int, hidden: int) -> Stop | None:  # noqa: ARG002 - the kernel counts what has no name, too
        if self._peak is None:
            for first in self.pids:
                offer_to_kernel(first)
        self._peak = max(self._peak or 0, self._held())
        # It is held at the limit, and might stay there for hours.
        return Stop("processes", "cgroup") if self._was_held() else None

    def cpu_seconds(self) -> float:
        return _fields(self._read("cpu.stat")).get("usage_usec", 0) / 1e6

    def end(self, ended: Ended) -> Ended:
        if not self._path.exists():
            return ended
        self._kill()
        stop, peak = ended.stop, self._peak
        if _fields(self._read("memory.events")).get("oom_kill", 0):
            stop, peak = Stop("memory", "cgroup"), self._limits.memory_bytes
        elif ended.exit_code and stop is None and self._was_held():
            stop = Stop("processes", "cgroup")
        self._path.rmdir()
        return replace(ended, stop=stop, peak_memory=peak)

    def _make(self) -> None:
        if self._path.exists():
            # Left by a service that was killed, with counters that are not this run's.
            self._kill()
            self._path.rmdir()
        self._path.mkdir()
        self._write("memory.max", self._limits.memory_bytes)
        self._write("memory.oom.group", 1)
        self._write("pids.max", self._limits.processes)
        # These are there only where the kernel accounts for swap, or lets groups have the controller.
        for name, value in (("memory.swap.max", 0), ("cpu.weight", _BUILD_WEIGHT)):
            if (self._path / name).exists():
                self._write(name, value)

    def _kill(self) -> None:
        """End all that is in it, and wait until it is gone. Raises TimeoutError."""
        deadline = time.monotonic() + _END_SECONDS
        while _fields(self._read("cgroup.events")).get("populated", 0):
            if time.monotonic() > deadline:
                raise TimeoutError(f"processes in {self._path} do not die")
            self._kill_once()
            time.sleep(0.002)

    def _kill_once(self) -> None:
        kill_all = self._path / "cgroup.kill"
        if kill_all.exists():
            kill_all.write_text("1")
            return
        # Before Linux 5.14.
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _held(self) -> int:
        """All but what the kernel would give back at once. Its sum is exact, its parts may be two seconds old."""
        parts = _fields(self._read("memory.stat"))
        files = parts.get("file", 0) - parts.get("shmem", 0) + parts.get("slab_reclaimable", 0)
        return max(0, int(self._read("memory.current") or 0) - files)

    def _was_held(self) -> bool:
        return _fields(self._read("pids.events")).get("max", 0) > 0

    def _write(self, name: str, value: int) -> None:
        (self._path / name).write_text(str(value))

    def _read(self, name: str) -> str:
        with suppress(FileNotFoundError):
            return (self._path / name).read_text()
        return ""


def _fields(text: str) -> dict[str, int]:
    """Of a file with a name and a number in each line."""
    pairs = (line.split() for line in text.splitlines())
    return {name: int(number) for name, number in pairs}
