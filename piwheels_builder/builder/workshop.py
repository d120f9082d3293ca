"""What the builds of one slot share."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from piwheels_builder.builder.caches import Caches
from piwheels_builder.builder.file_server import FileServer
from piwheels_builder.builder.in_memory import MemoryArea
from piwheels_builder.builder.limits import Limits
from piwheels_builder.builder.process import Runner, run
from piwheels_builder.builder.relay import Relay
from piwheels_builder.builder.uv import Uv
from piwheels_builder.builder.warm import WarmParents
from piwheels_builder.settings import EVERY_PROJECT, BuilderSettings


@dataclass(frozen=True)
class Workshop:
    """``state_dir``, ``pythons`` and so on as in BuilderSettings; ``slot`` counts from 0.

    With ``warm`` builds are children of warm parents where their environment allows it; else each has an interpreter of its own.
    ``limits`` hold for every build; None means those of its memory class. ``cores`` are the processors that a build may keep busy.
    ``in_memory``: where builds happen, and ``caches_in_memory``: where what they are made with is, as far as it fits there.
    ``memory_bytes`` are for builds and the system, None: all there are. ``file_server``: the one this host's root is on.
    """

    state_dir: Path
    pythons: Mapping[str, Path]
    upstream: str | None = None
    first_build_uid: int | None = None
    build_seconds: float = 6 * 3600
    slot: int = 0
    runner: Runner = run
    warm: WarmParents | None = None
    limits: Limits | None = None
    disk_bytes: int = Limits.disk_bytes
    cores: int = 1
    in_memory: MemoryArea | None = None
    caches_in_memory: Caches | None = None
    memory_bytes: int | None = None
    file_server: FileServer | None = None
    #: Without a sandbox there are no warm parents, and all builds happen on the disk.
    sandboxed: bool = True
    #: As in BuilderSettings.
    publish_failing_imports: frozenset[str] = frozenset()
    #: Whether wheels get the shared libraries they need put into them.
    bundles_libraries: bool = False
    #: The index host, where that is asked in place of ``upstream``.
    relay: Relay | None = None

    @classmethod
    def of(cls, settings: BuilderSettings) -> "Workshop":
        return cls(
            state_dir=settings.state_dir,
            pythons=settings.pythons,
            upstream=settings.upstream,
            first_build_uid=settings.first_build_uid,
            build_seconds=settings.build_seconds,
            disk_bytes=settings.build_disk_mb * 2**20,
            sandboxed=settings.sandbox != "off",
            publish_failing_imports=frozenset(settings.publish_failing_imports),
            bundles_libraries=settings.wheel_libraries == "bundled",
            relay=Relay.read(settings.relay) if settings.relay else None,
            memory_bytes=None if settings.memory_mb is None else settings.memory_mb << 20,
        )

    @property
    def build_uid(self) -> int | None:
        """The user this slot's builds run as, as far as that is ours to choose."""
        if os.geteuid() != 0 or self.first_build_uid is None:
            return None
        return self.first_build_uid + self.slot

    def publishes_failing_import(self, project: str) -> bool:
        """Whether the operator wants a wheel of this project (its normalized name) that can't be imported."""
        return not self.publish_failing_imports.isdisjoint({project, EVERY_PROJECT})

    def limits_of(self, memory_class: int) -> Limits:
        """What a build of this class may use here."""
        limits = self.limits or Limits(disk_bytes=self.disk_bytes).of_class(memory_class, self.memory_bytes)
        if self.in_memory is None:
            return limits
        return replace(limits, disk_bytes=min(limits.disk_bytes, self.in_memory.bytes_for(memory_class)))

    @property
    def area(self) -> Path:
        """Holds the directories of builds in progress."""
        return self.in_memory.directory if self.in_memory else self.state_dir / "area"

    def on_disk(self) -> "Workshop":
        """The same for a build that is too large for memory. Warm parents live where small builds do."""
        return replace(self, in_memory=None, warm=None)

    @property
    def keeps_in_memory(self) -> bool:
        """Whether a build may find too little room that has enough on the disk."""
        return self.in_memory is not None or self.caches_in_memory is not None

    def all_on_disk(self) -> "Workshop":
        """The same for a build that found too little room in memory, whatever for."""
        return replace(self.on_disk(), caches_in_memory=None)

    @property
    def caches(self) -> Caches:
        return self.caches_in_memory or Caches(self.state_dir)

    @property
    def uv(self) -> Uv:
        most_bytes = self.limits.disk_bytes if self.limits else self.disk_bytes
        return Uv(self.caches.uv, self.upstream, self.runner, most_bytes, self.sandboxed, self.caches.uv_bytes, self.relay)
