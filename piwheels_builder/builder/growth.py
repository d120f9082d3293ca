"""Bounds what a program of our own, such as uv, adds to a directory: what strangers packed may unpack to anything."""

from collections.abc import Sequence
from pathlib import Path

from piwheels_builder.builder.disk import free_bytes, tree_bytes
from piwheels_builder.builder.process import Ended, Stop


class Growth:
    """A Watch (process.py): the directory may hold so many bytes. Raises OSError where there is no such directory."""

    interval = 0.1

    def __init__(self, directory: Path, most_bytes: int) -> None:
        self._directory = directory
        self._most_bytes = most_bytes
        self._free = free_bytes(directory)
        self._held = tree_bytes(directory)

    def prefix(self) -> Sequence[str]:
        return ()

    def admit(self, pid: int) -> None:
        """Nothing to do: it is the directory that is looked at."""

    def look(self, pid: int, printed: int) -> Stop | None:  # noqa: ARG002 - of the protocol
        # Walked through only when so much of the disk has gone that it may be this one's doing.
        if self._held + self._free - free_bytes(self._directory) <= self._most_bytes:
            return None
        return Stop("disk", "watcher") if tree_bytes(self._directory) > self._most_bytes else None

    def end(self, ended: Ended) -> Ended:
        return ended
