"""Builds without a sandbox, for hosts whose kernel (or emulator) has no namespaces: beside bubblewrap.py, what can be had there.

As root a build runs as its slot's own user, without capabilities, and can't gain any; its limits and the watcher are those of every
build. It sees the host and the network as any user does. As an ordinary user it can do whatever that user can, and what it leaves
running in a session of its own outlives it.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from piwheels_builder.builder.area import Area, give, new_area
from piwheels_builder.builder.bubblewrap import demotion, pretence
from piwheels_builder.builder.limits import Limits
from piwheels_builder.errors import BadInput

#: Ids below are of people, of the system, and of units that systemd gives one for the moment.
_FIRST_OF_BUILDS = 65536


@dataclass(frozen=True)
class Bare:
    """How a program runs that has no sandbox. ``directory``: where it begins; the rest as in bubblewrap.Sandbox."""

    directory: Path
    uid: int | None = None
    personality: str | None = None
    limits: Limits = field(default_factory=Limits)


def command(bare: Bare, program: Sequence[str]) -> list[str]:
    """The whole command line, each program of the system by its whole path."""
    limits = bare.limits.prlimit()
    if bare.uid is None:
        # It would count whatever else this user runs.
        limits = [word for word in limits if not word.startswith("--nproc=")]
    start = ["/usr/bin/env", f"--chdir={bare.directory}"]
    return with_us([*limits, *pretence(bare.personality), *start, *program], bare.uid)


def with_us(program: Sequence[str], uid: int | None = None) -> list[str]:
    """A command that is killed when this process dies; what it starts is not."""
    setpriv, *options = demotion(uid) or ["/usr/bin/setpriv", "--"]
    return [setpriv, "--pdeathsig", "KILL", *options, *program]


def prepare(area: Area, uid: int | None) -> None:
    """Hand the build its directories, and open the way to them."""
    if uid is not None:
        give(area, uid)
        area.root.chmod(0o711)


@contextmanager
def swept(uid: int | None) -> Iterator[None]:
    """A block before and after which no process of this user runs. With None, for ourselves, nothing is done."""
    sweep(uid)
    try:
        yield
    finally:
        sweep(uid)


def sweep(uid: int | None) -> None:
    """Kill every process of a build's user, all at once, so that none can start another meanwhile. Raises OSError."""
    if uid is None:
        return
    if uid < _FIRST_OF_BUILDS:
        raise BadInput(f"user {uid} is not for builds alone: first_build_uid in builder.yml must be {_FIRST_OF_BUILDS} or more")
    # To a process of an ordinary user -1 means all that it may signal, but for itself: kill(2).
    kill_all = ("/bin/sh", "-c", "kill -KILL -1")
    subprocess.run(kill_all, user=uid, group=uid, extra_groups=[], env={}, check=False, capture_output=True)


def check_bare(place: Path, uid: int | None, pythons: Sequence[Path]) -> None:
    """Make sure that a build below the directory ``place`` reaches what it needs. Raises BadInput with the remedy."""
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as above, new_area(Path(above) / "check") as area:
        Path(above).chmod(0o711)
        prepare(area, uid)
        for python in pythons:
            line = command(Bare(area.build, uid), [os.fspath(python), "-I", "-S", "-c", "open('made', 'w')"])
            tried = subprocess.run(line, capture_output=True, env={}, text=True, check=False)
            if tried.returncode:
                said = (tried.stderr.strip().splitlines() or [f"exit code {tried.returncode}"])[-1][:200]
                raise BadInput(f"without a sandbox, user {uid} cannot run {python} in {place} ({said}): let it through (chmod o+x)")
