"""Whether there is room for another build, and for more of them to be leased: on this host's disk, or on its file server."""

import logging
from collections.abc import Callable
from pathlib import Path

from piwheels_builder.builder.disk import SPARE_BYTES, free_bytes
from piwheels_builder.builder.file_server import full_mark
from piwheels_builder.settings import BuilderSettings

log = logging.getLogger(__name__)


class Room:
    """As of the last ``look`` in the directory of the outbox. ``space`` tells how many bytes are free in a directory."""

    def __init__(self, settings: BuilderSettings, directory: Path, space: Callable[[Path], int] = free_bytes) -> None:
        self._settings = settings
        self._directory = directory
        self._space = space
        #: Why no build may start; None while they may.
        self.trouble: str | None = None
        #: Why nothing more may be leased, whatever is spooled already; None while it may.
        self.leasing_trouble: str | None = None

    def look(self) -> bool:
        """Look again. Returns whether it has changed that more may be leased. Raises OSError."""
        leased_before = self.leasing_trouble is None
        free = self._space(self._directory)
        self.trouble = self._marked() or self._lacking(free, SPARE_BYTES)
        self.leasing_trouble = self.trouble or self._lacking(free, self._settings.leasing_room_mb << 20)
        changed = leased_before != (self.leasing_trouble is None)
        if changed:
            log.warning("leasing: %s", self.leasing_trouble or "there is room again")
        return changed

    def _marked(self) -> str | None:
        mark = full_mark(self._settings.file_server)
        if mark is None:
            return None
        return f"the file server of this host is full, says {mark}: make room there, and it takes that file away"

    def _lacking(self, free: int, needed: int) -> str | None:
        return f"{free >> 20} MiB free where the outbox is, {needed >> 20} MiB needed" if free < needed else None
