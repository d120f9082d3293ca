"""A disk that refuses the Nth thing asked of it below one directory, and those after it for a while.

Files and directories made, renames and links are seen by an audit hook, as Python itself asks for them; what is written and
synced, by replaced functions. What other programs write is not seen: for them there is a real disk, filled to the brim.
"""

import builtins
import errno
import io
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_real_open = io.open
_real_fsync = os.fsync
_real_sendfile = os.sendfile


class Disk:
    """Counts what is asked of the disk below ``root``; ``refused`` tells what was refused, ``code`` is the error's number."""

    def __init__(self, root: Path, code: int = errno.ENOSPC) -> None:
        self.root = os.fspath(root)
        self.asked = 0
        self.refused: list[str] = []
        self.code = code
        self._refuses_at: int | None = None
        self._seconds = 0.0
        self._well_at: float | None = None
        self._lock = threading.Lock()

    def refuse(self, number: int, seconds: float) -> None:
        """Refuse the ``number``-th request, counted from 1 and from now on, and all that come within so many seconds after it."""
        self.asked, self._refuses_at, self._seconds, self._well_at = 0, number, seconds, None

    def ask(self, what: str, path: object) -> bool:
        """False; raises OSError where this request is one to refuse."""
        place = _place(path)
        if not place.startswith(self.root):
            return False
        with self._lock:
            self.asked += 1
            now = time.monotonic()
            if self.asked == self._refuses_at:
                self._well_at = now + self._seconds
            elif self._well_at is None or now >= self._well_at:
                return False
            self.refused.append(f"{what} {place.removeprefix(self.root)}")
        raise OSError(self.code, os.strerror(self.code), place)


class _File(io.FileIO):
    """A file whose every write is asked for."""

    def __init__(self, disk: Disk, file: Any, mode: str, closefd: bool, opener: Any) -> None:
        super().__init__(file, mode, closefd=closefd, opener=opener)
        self._disk = disk
        self._path = _place(file)

    def write(self, data: Any) -> int:
        self._disk.ask("write", self._path)
        return super().write(data)


_watched: Disk | None = None
_listening = False


@contextmanager
def watched_disk(root: Path, monkeypatch: pytest.MonkeyPatch, code: int = errno.ENOSPC) -> Iterator[Disk]:
    """A disk below ``root`` for the length of a block; it grants everything until told otherwise."""
    global _watched, _listening  # noqa: PLW0603 - a hook can't be removed, so there is one for all
    if not _listening:
        sys.addaudithook(_hear)
        _listening = True
    _watched = disk = Disk(root, code)
    with monkeypatch.context() as patched:
        for module in (io, builtins):
            patched.setattr(module, "open", lambda *args, **kwargs: _open(disk, *args, **kwargs))
        patched.setattr(os, "fsync", lambda descriptor: disk.ask("sync", descriptor) or _real_fsync(descriptor))
        patched.setattr(os, "sendfile", lambda to, *rest: disk.ask("copy", to) or _real_sendfile(to, *rest))
        try:
            yield disk
        finally:
            _watched = None


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    disk = _watched
    if disk is None:
        return
    if event == "open":
        path, _, flags = arguments
        if isinstance(path, str | bytes) and flags & os.O_CREAT and not os.path.lexists(path):
            disk.ask("create", path)
    elif event == "os.mkdir":
        disk.ask("mkdir", arguments[0])
    elif event in {"os.rename", "os.link", "os.symlink"}:
        disk.ask(event.removeprefix("os."), arguments[1])
    elif event in {"os.remove", "os.rmdir"} and disk.code != errno.ENOSPC:
        # A full disk lets go of what it has; a read-only one doesn't.
        path, directory = arguments
        disk.ask("remove", f"{_place(directory)}/{_place(path)}" if directory != -1 else path)


def _open(  # noqa: PLR0917 - open()'s own
    disk: Disk,
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,
) -> Any:
    """What open() does, with _File below."""
    if not set(mode) & set("wax+") or not _place(file).startswith(disk.root):
        return _real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
    raw = _File(disk, file, mode.replace("b", "").replace("t", ""), closefd, opener)
    if buffering == 0:
        return raw
    buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
    return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding or "utf-8", errors, newline)


def _place(path: object) -> str:
    if isinstance(path, int):
        try:
            return os.fspath(Path(f"/proc/self/fd/{path}").readlink())
        except OSError:
            return ""
    return os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
