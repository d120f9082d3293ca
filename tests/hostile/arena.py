"""Runs an attack through the real builder in the middle of a world, and looks at what came of it."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from piwheels_builder.builder.in_memory import MemoryArea, memory_area
from piwheels_builder.builder.interpreter import describe
from piwheels_builder.builder.limits import Limits
from piwheels_builder.builder.warm import WarmParents
from piwheels_builder.builder.workshop import Workshop
from piwheels_builder.catalogue.pip_index import configured_index
from piwheels_builder.settings import FIRST_BUILD_UID
from tests.hostile.attack import Attack
from tests.hostile.canaries import VARIABLES, World, world
from tests.support.sdists import Built, Yard, setup_py
from tests.support.simple_index import serving

#: By so much the builder's own memory may grow, whatever an attack has it read.
_BUILDERS_MEMORY = 200 * 2**20
_SLOTS = 16
_PARENT = "/driver/parent.py"
#: Of a build in memory: less than an attack on the disk fills.
_IN_MEMORY_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Arena:
    """A yard in the middle of a world. ``reference`` is the wheel of the harmless sdist, built before any attack."""

    world: World
    yard: Yard
    reference: bytes
    warm: WarmParents
    memory: MemoryArea | None = None
    warm_in_memory: WarmParents | None = None

    def in_form(self, form: str) -> "Arena":
        """``fresh``: each build in an interpreter of its own; ``warm``: as the child of a warm parent, where that may be.

        ``memory``: as the child of one, in memory as far as it fits there.
        """
        warm = {"fresh": None, "warm": self.warm, "memory": self.warm_in_memory}[form]
        in_memory = self.memory if form == "memory" else None
        return replace(self, yard=replace(self.yard, workshop=replace(self.yard.workshop, warm=warm, in_memory=in_memory)))

    def run(self, attack: Attack, slot: int = 0, alone: bool = True) -> Built:
        """Raises AssertionError unless it ends as it must. ``alone``: so that what the builder itself uses can be measured."""
        sdist = attack.make(self.world.places)
        before = _peak_reset() if alone else 0
        began = time.monotonic()
        built = self._build(attack, sdist, slot)
        seconds = time.monotonic() - began
        self._judge(attack, built, seconds)
        taken = _peak() - before if alone else 0
        assert taken < _BUILDERS_MEMORY, f"the builder itself took {taken >> 20} MiB"
        if attack.then:
            assert "ATTACK SUCCEEDED" not in self._build(attack, attack.then(self.world.places), slot).log
        return built

    def check_after(self, slot: int = 0) -> None:
        """Nothing is left of it, and the next build in this slot is as if it had never been."""
        assert self.left_running() == []
        self.world.check()
        if self.memory:
            assert [entry.name for entry in self.memory.directory.iterdir() if not entry.name.startswith("warm-")] == []
        after = self.yard.build(setup_py(), slot=slot)
        assert after.wheel.read_bytes() == self.reference, after.log
        assert self.world.leaks(after.log.encode()) == []

    def left_running(self) -> list[str]:
        """What still runs of any build; dying takes a moment."""
        for _ in range(100):
            left = _of_builds(self.world, self.yard.workshop)
            if not left:
                break
            time.sleep(0.05)
        return left

    def _build(self, attack: Attack, content: bytes, slot: int) -> Built:
        sdist = self.world.place / f"{uuid4()}.tar.gz"
        sdist.write_bytes(content)
        changes: dict[str, Any] = {"slot": slot, "build_seconds": attack.build_seconds}
        if attack.limits:
            changes["limits"] = Limits(**attack.limits)
        with tempfile.TemporaryDirectory() as place:
            if attack.offer:
                attack.offer(Path(place))
            with serving(Path(place)) if attack.offer else nullcontext() as upstream:
                if upstream:
                    changes["upstream"] = upstream
                built = replace(self.yard, uploaded=attack.uploaded).build_file(sdist, **changes)
        sdist.unlink()
        if attack.offer:
            self._forget_environments()
        return built

    def _judge(self, attack: Attack, built: Built, seconds: float) -> None:
        log = built.log
        shown = f"{built.attempt.outcome}: {built.attempt.error_line}\n{log[-6000:]}"
        assert "ATTACK SUCCEEDED" not in log, shown
        assert built.attempt.outcome in attack.ends, shown
        assert attack.says in log, shown
        assert (built.delivery / "log.txt").stat().st_size < 17 * 2**20
        assert seconds < attack.seconds, f"{seconds:.1f} s\n{shown}"
        assert self.world.leaks(log.encode() + built.attempt.to_json().encode()) == []
        if attack.warmable and self.yard.workshop.warm is not None:
            assert "in an interpreter of its own" not in log, shown
        if built.attempt.wheel:
            assert self.world.leaks_of_wheel(built.wheel) == []
        else:
            assert [entry.name for entry in built.delivery.iterdir()] == ["log.txt"]

    def _forget_environments(self) -> None:
        """Those of an attack's own requirements: the next attack has others of the same name."""
        for path in (self.world.state / "environments").iterdir():
            if path.name not in self.world.environments:
                shutil.rmtree(path)


@contextmanager
def arena() -> Iterator[Arena]:
    upstream = configured_index()
    # Of our own, since the next test process, and whoever else uses this machine, runs builds too.
    first_uid = FIRST_BUILD_UID + 1000 + _SLOTS * (os.getpid() % 2000) if os.geteuid() == 0 else None
    with (
        world(first_uid) as around,
        pretending(around),
        warm_parents(around.state / "area") as parents,
        in_memory(around.state) as memory,
        warm_parents(memory.directory) as parents_in_memory,
    ):
        python = Path(sys.executable)
        workshop = Workshop(
            around.state,
            {describe(python).python_abi: python},
            upstream=upstream,
            first_build_uid=first_uid,
            build_seconds=30,
            cores=4,
        )
        yard = Yard(workshop, around.place)
        # Twice: the first makes the environment.
        reference = [yard.build(setup_py()).wheel.read_bytes() for _ in range(2)]
        assert reference[0] == reference[1], "the harmless sdist itself is not reproducible"
        around.remember()
        yield Arena(around, yard, reference[0], parents, memory, parents_in_memory)


@contextmanager
def warm_parents(place: Path) -> Iterator[WarmParents]:
    """Those of one slot, where its builds are."""
    parents = WarmParents(place)
    try:
        yield parents
    finally:
        parents.close()


@contextmanager
def in_memory(state_dir: Path) -> Iterator[MemoryArea]:
    """Where the builds of this state directory happen in memory."""
    memory = memory_area(state_dir, slots=1)
    assert memory, "this machine has no place in memory for builds"
    try:
        yield replace(memory, bytes_each=_IN_MEMORY_BYTES)
    finally:
        shutil.rmtree(memory.directory)


@contextmanager
def pretending(around: World) -> Iterator[None]:
    """For the length of a block the builder runs with secrets in its environment, and its home is the world's."""
    secret = dict.fromkeys(VARIABLES, around.secrets["environment"])
    changed: Mapping[str, str] = {**secret, "HOME": around.places.home}
    kept = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def run_outside(body: str, home: str) -> str:
    """Run the text of an attack as any program, in no sandbox. Returns what it prints."""
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(
            [sys.executable, "-c", body],
            cwd=place,
            env={**os.environ, "HOME": home},
            capture_output=True,
            text=True,
            check=False,
            errors="replace",
        )
    return done.stdout + done.stderr


def _of_builds(around: World, workshop: Workshop) -> list[str]:
    """Processes of builds, by their user, the world's mark or its place on their command line; not those that stay warm."""
    found = []
    for process in psutil.process_iter(["cmdline", "uids", "ppid"]):
        command, first = process.info["cmdline"] or [], workshop.first_build_uid
        of_builds = first is not None and process.info["uids"] is not None and 0 <= process.info["uids"].real - first < _SLOTS
        marked = any(around.places.mark in word or os.fspath(around.place) in word for word in command)
        if (of_builds or marked) and process.pid != around.process.pid and not _is_warm(process):
            found.append(f"{process.pid} {command}")
    return found


def _is_warm(process: psutil.Process) -> bool:
    """Whether it is a warm parent, or the sandbox around one. Its children have the same command line, and it as their parent."""
    if _PARENT not in (process.info["cmdline"] or []):
        return False
    try:
        above = psutil.Process(process.info["ppid"]).cmdline()
    except psutil.NoSuchProcess:
        return True
    return not (above and above[0].startswith("/env/") and _PARENT in above)


def _peak_reset() -> int:
    """Forget the largest size this process ever had (proc(5), clear_refs); returns the present one, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024
