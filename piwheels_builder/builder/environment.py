"""Environments with build requirements, made once for each resolved set and mounted read-only into builds."""

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from piwheels_builder.builder.area import discard
from piwheels_builder.builder.disk import free_bytes, tree_bytes
from piwheels_builder.builder.ending import BuildEnded
from piwheels_builder.builder.interpreter import Interpreter
from piwheels_builder.builder.log import BuildLog
from piwheels_builder.builder.resolution import Resolution, uv_failure
from piwheels_builder.builder.uv import TOO_LARGE, Uv
from piwheels_builder.states import Outcome

#: How many environments are kept; the least recently used ones go first. One with setuptools alone has 12 MB.
MOST_KEPT = 24
_COMPILE_SECONDS = 300


@dataclass(frozen=True)
class Environment:
    """A directory to mount at /env. ``key`` tells environments with different content apart; ``names`` are normalized."""

    path: Path
    key: str
    names: frozenset[str]


@dataclass(frozen=True)
class Environments:
    """All environments of a builder, below ``directory``. A shared lock on the directory of one keeps it from being dropped."""

    directory: Path
    uv: Uv
    most_kept: int = MOST_KEPT
    #: Bytes of their file system that they leave free, where that is theirs alone; four times as many after one that didn't fit.
    spare_bytes: int = 0
    #: Where those are that didn't fit.
    elsewhere: tuple[Path, ...] = ()

    @contextmanager
    def holding(self, resolution: Resolution, python: Interpreter, log: BuildLog) -> Iterator[Environment]:
        """An environment with exactly what was resolved; it stays while the block runs. Raises BuildEnded, OSError."""
        key = hashlib.sha256("\n".join([*resolution.pins, python.identity]).encode()).hexdigest()[:16]
        while (found := self._find(key)) is None:
            self._make(self.directory / key, resolution, python, log)
        path, lock = found
        try:
            yield Environment(path, key, frozenset(resolution.versions))
        finally:
            os.close(lock)

    def _find(self, key: str) -> tuple[Path, int] | None:
        """Where it is, and its lock."""
        for directory in (self.directory, *self.elsewhere):
            if (lock := _lock_shared(directory / key)) is not None:
                return directory / key, lock
        return None

    def _make(self, path: Path, resolution: Resolution, python: Interpreter, log: BuildLog) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        new = self.directory / f".new-{uuid4().hex}"
        try:
            self._fill(new, resolution, python, log)
            _rename_unless_there(new, path)
        except (BuildEnded, OSError):
            self._make_room(new, log)
            raise
        finally:
            discard(new)
        self._drop_unused(path, self.spare_bytes)
        self.uv.keep_small(log)

    def _make_room(self, new: Path, log: BuildLog) -> None:
        """Where there was none for a new one: the next one would find as little."""
        if free_bytes(self.directory) < self.spare_bytes:
            discard(new)
            self._drop_unused(new, 4 * self.spare_bytes)
            self.uv.run("cache", "clean", log=log)

    def _fill(self, new: Path, resolution: Resolution, python: Interpreter, log: BuildLog) -> None:
        since = log.size()
        code = self.uv.run(
            "venv", "--relocatable", "--no-project", "--python", os.fspath(python.executable), os.fspath(new), log=log
        )
        if not code and resolution.pins:
            code = self._install(new, resolution, log)
        if code:
            raise uv_failure(log.text(since))
        if tree_bytes(new) > self.uv.most_bytes:
            raise BuildEnded(Outcome.DISK_LIMIT, TOO_LARGE)
        self._compile(new, python, log)

    def _install(self, new: Path, resolution: Resolution, log: BuildLog) -> int:
        pins = new / "pins.txt"
        pins.write_text("\n".join(resolution.pins) + "\n", encoding="utf-8")
        # Copied: a link into uv's cache would let a build that finds a way to write poison other environments.
        how = ("--no-deps", "--no-build", "--link-mode", "copy", "--python", os.fspath(new / "bin/python"))
        return self.uv.run("pip", "install", *how, "--requirements", os.fspath(pins), log=log)

    def _compile(self, new: Path, python: Interpreter, log: BuildLog) -> None:
        """Compile to bytecode by the bare interpreter, -S: uv would start the environment's, which runs the wheels' .pth files."""
        how = ("-I", "-S", "-m", "compileall", "-q", "-q", "-j", "0", "-s", os.fspath(new), "-p", "/env", os.fspath(new / "lib"))
        ended = self.uv.runner(
            self.uv.tied([os.fspath(python.executable), *how]),
            environment={},
            output=log,
            seconds=_COMPILE_SECONDS,
            output_bytes=2**20,
        )
        # A package may hold files that are no Python of this version: then compileall ends with 1, and has done the rest.
        if ended.stop:
            raise BuildEnded(Outcome.BUILDER_FAULT, "compiling the build requirements to bytecode did not end")

    def _drop_unused(self, wanted: Path, spare_bytes: int) -> None:
        # All others may be held by builds and parents: what was just made must not go for that.
        kept = [Path(entry.path) for entry in os.scandir(self.directory) if not entry.name.startswith(".")]
        oldest_first = sorted(kept, key=_used_at)
        surplus = len(kept) - self.most_kept
        for path in oldest_first:
            if (surplus > 0 or free_bytes(self.directory) < spare_bytes) and path != wanted and _drop(path):
                surplus -= 1


def _rename_unless_there(new: Path, path: Path) -> None:
    try:
        new.rename(path)
    except OSError as error:
        # Another slot has been quicker: its environment is as good.
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise


def _used_at(path: Path) -> float:
    # Another slot may drop it while we look.
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0


def _lock_shared(path: Path) -> int | None:
    """An open, locked descriptor of the directory, marked as used now. None if it isn't there (any more)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    try:
        os.utime(path)
        if os.path.samestat(path.stat(), os.fstat(descriptor)):
            return descriptor
    except FileNotFoundError:
        pass
    os.close(descriptor)
    return None


def _drop(path: Path) -> bool:
    """Remove an environment unless a build is using it. Returns whether it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        dropped = path.with_name(f".old-{uuid4().hex}")
        path.rename(dropped)
        discard(dropped)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)
