"""Where what may be fetched again is kept: sdists, uv's cache, environments. On a disk, or in a tmpfs that has an end."""

import os
from dataclasses import dataclass
from pathlib import Path

from piwheels_builder.builder.fetch import CACHE_BYTES, SdistCache
from piwheels_builder.builder.uv import LARGEST_CACHE


@dataclass(frozen=True)
class Caches:
    """Below ``directory``. ``bytes_there``: what a file system that is theirs alone has; None where they share a disk."""

    directory: Path
    bytes_there: int | None = None

    @classmethod
    def in_memory(cls, directory: Path) -> "Caches":
        """On the tmpfs that is mounted there. Raises OSError."""
        found = os.statvfs(directory)
        return cls(directory, found.f_blocks * found.f_frsize)

    @property
    def environments(self) -> Path:
        return self.directory / "environments"

    @property
    def resolutions(self) -> Path:
        return self.directory / "cache/resolutions"

    @property
    def toolchain(self) -> Path:
        return self.directory / "cache/toolchain.json"

    @property
    def uv(self) -> Path:
        return self.directory / "cache/uv"

    @property
    def sdists(self) -> SdistCache:
        return SdistCache(self.directory / "cache/sdists", self._part(1, CACHE_BYTES))

    @property
    def uv_bytes(self) -> int:
        """The most that uv's cache may hold before it is emptied."""
        return self._part(3, LARGEST_CACHE)

    @property
    def spare_bytes(self) -> int:
        """So much stays free for the next environment: the least recently used ones go before that. 0: only their number counts."""
        return 0 if self.bytes_there is None else self.bytes_there // 8

    def _part(self, eighths: int, most: int) -> int:
        return most if self.bytes_there is None else min(most, self.bytes_there * eighths // 8)
