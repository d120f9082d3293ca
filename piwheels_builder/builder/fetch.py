"""The sdist of a release: its bytes, checked, from the upstream index or from the cache."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from piwheels_builder.builder.relay import Relay
from piwheels_builder.queue.batch import Sdist

#: What the cache keeps, in bytes. Nothing used within CACHE_REST seconds is dropped: another slot may be reading it.
CACHE_BYTES = 2 * 2**30
CACHE_REST = 600


@dataclass(frozen=True)
class SdistCache:
    """Sdists by their sha256, the least recently used ones dropped when they are more than ``limit`` bytes."""

    directory: Path
    limit: int = CACHE_BYTES

    def find(self, sha256: str) -> Path | None:
        """The cached file, its bytes checked again: a power cut can damage what was written."""
        path = self.directory / sha256
        with suppress(FileNotFoundError):
            if _sha256(path) == sha256:
                os.utime(path)
                return path
            path.unlink()
        return None

    def new(self) -> Path:
        """A temporary name in the cache's directory."""
        self.directory.mkdir(parents=True, exist_ok=True)
        return self.directory / f".{uuid4().hex}"

    def keep(self, temporary: Path, sha256: str) -> Path:
        """Take a checked file in, and make room for it."""
        self._make_room()
        return temporary.rename(self.directory / sha256)

    def add(self, path: Path) -> str:
        """Take a copy of a file of one's own in, unless it is there. Returns its sha256."""
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        if not self.find(sha256):
            temporary = self.new()
            temporary.write_bytes(content)
            self.keep(temporary, sha256)
        return sha256

    def _make_room(self) -> None:
        used = sorted(_files(self.directory), key=lambda file: file[1].st_mtime, reverse=True)
        total = 0
        for path, facts in used:
            total += facts.st_size
            if total > self.limit and time.time() - facts.st_mtime > CACHE_REST:
                path.unlink(missing_ok=True)


def fetch(sdist: Sdist, cache: SdistCache, pause: Callable[[float], None] = time.sleep, relay: Relay | None = None) -> Path:
    """The sdist's file in the cache; ``relay`` is whom its URL leads to, if it does. Raises BuildEnded (sdist_unavailable,
    network_away) and OSError (disk).
    """
    cached = cache.find(sdist.sha256) if sdist.sha256 else None
    if cached:
        return cached
    # What it imports takes longer than many a build, and a cached sdist doesn't need it.
    from piwheels_builder.builder.download import download  # noqa: PLC0415

    temporary = cache.new()
    try:
        sha256 = download(sdist, temporary, pause, relay)
        return cache.keep(temporary, sha256)
    finally:
        temporary.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(directory: Path) -> Iterator[tuple[Path, os.stat_result]]:
    with os.scandir(directory) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                yield Path(entry.path), entry.stat()
