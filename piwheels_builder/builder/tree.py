# ruff: noqa: PTH102, PTH108, PTH118, PTH211 - for hundreds of thousands of members: plain strings, not Path objects
"""A directory that members of an archive are put into, one at a time, none of them ever outside of it."""

import os
import posixpath
import shutil
import stat
from pathlib import Path
from typing import IO

_LONGEST_PATH = 3000
_DEEPEST = 100
_CHUNK = 256 * 1024


class Refused(Exception):
    """A member that no honest sdist has; the message says which and why."""


class Tree:
    """Names are relative, with ``/``. Every parent of a member is a real directory made here, never a link: so what a name
    says is where its member lies. Modes become 0755 or 0644.
    """

    def __init__(self, root: Path, total: int) -> None:
        self._root = os.fspath(root)
        self._room = total
        self._directories = {""}

    def add_directory(self, name: str) -> None:
        self._make(_clean(name))

    def add_file(self, name: str, content: IO[bytes], size: int, mode: int) -> None:
        """``size`` is what the archive says; never more than that is read. Raises Refused, OSError."""
        if mode & (stat.S_ISUID | stat.S_ISGID):
            raise Refused(f"{name!r} is setuid or setgid")
        self._room -= size
        if self._room < 0:
            raise Refused("unpacks to more than allowed")
        place = self._place(name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        descriptor = os.open(place, flags, 0o755 if mode & 0o111 else 0o644)
        with os.fdopen(descriptor, "wb") as file:
            shutil.copyfileobj(content, file, _CHUNK)

    def add_symlink(self, name: str, target: str) -> None:
        self._check_target(_clean(name), target)
        os.symlink(target, self._place(name))

    def add_hardlink(self, name: str, target: str) -> None:
        """``target`` is the name of an earlier member."""
        original = _clean(target)
        if posixpath.dirname(original) not in self._directories:
            raise Refused(f"{name!r} is a link to {target!r}, which is not in the archive")
        source = os.path.join(self._root, original)
        if not os.path.lexists(source) or not stat.S_ISREG(os.lstat(source).st_mode):
            raise Refused(f"{name!r} is a link to {target!r}, which is no file in the archive")
        if original != _clean(name):
            os.link(source, self._place(name), follow_symlinks=False)

    def _place(self, name: str) -> str:
        """The path for a new member: its parents made, an earlier member of the same name gone."""
        clean = _clean(name)
        if not clean or clean in self._directories:
            raise Refused(f"{name!r} is a directory and something else")
        self._make(posixpath.dirname(clean))
        place = os.path.join(self._root, clean)
        if os.path.lexists(place):
            os.unlink(place)
        return place

    def _make(self, directory: str) -> None:
        """Make a directory and its parents, each unless made before. Raises FileExistsError where something else lies."""
        if directory in self._directories:
            return
        self._make(posixpath.dirname(directory))
        os.mkdir(os.path.join(self._root, directory), 0o755)
        self._directories.add(directory)

    @staticmethod
    def _check_target(link: str, target: str) -> None:
        """A link may climb only at its start, where every step is one real directory; further on a step may be a link."""
        steps = [step for step in target.split("/") if step not in {"", "."}]
        climbs = next((number for number, step in enumerate(steps) if step != ".."), len(steps))
        if target.startswith("/") or "\0" in target or not target or climbs > link.count("/") or ".." in steps[climbs:]:
            raise Refused(f"{link!r} is a link out of the archive, to {target!r}")


def _clean(name: str) -> str:
    """The name without empty and ``.`` steps. Raises Refused for one that is absolute, climbs, or is too long."""
    steps = [step for step in name.split("/") if step not in {"", "."}]
    if name.startswith("/") or ".." in steps or "\0" in name:
        raise Refused(f"{name!r} would lie outside of the archive")
    if len(os.fsencode(name)) > _LONGEST_PATH or len(steps) > _DEEPEST:
        raise Refused(f"a path of {len(name)} characters and {len(steps)} steps")
    return "/".join(steps)
