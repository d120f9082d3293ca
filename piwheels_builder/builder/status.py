"""status.json: what the service is doing, for whoever shows progress. Written when something changed, read by build.yml."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from piwheels_builder.builder.spool import SpooledBuild


@dataclass(frozen=True)
class Running:
    """A build in a slot; ``since`` is ISO 8601, UTC."""

    project: str
    version: str
    target: str
    since: str
    memory_class: int

    @classmethod
    def of(cls, build: SpooledBuild) -> "Running":
        """It begins now."""
        leased = build.leased
        return cls(leased.project, leased.version, str(leased.target), datetime.now(UTC).isoformat(), leased.memory_class)


@dataclass(frozen=True)
class Status:
    """``spool`` counts builds not begun, ``outbox`` entries, ``recorded`` those of them that wait for publication only."""

    builder: str
    running: Sequence[Running]
    spool: int
    outbox: int
    recorded: int
    #: What keeps builds from starting; None while they may.
    disk_trouble: str | None
    memory_trouble: str | None
    #: What keeps more from being leased, while what is spooled may be built.
    leasing_trouble: str | None
    #: Why none shall start (builder/draining.py).
    draining: str | None
    #: ISO 8601, UTC; None before the first contact.
    last_database_contact: str | None
    database_trouble: str | None


class StatusFile:
    """Replaced in one step, so a reader never sees half of it; not synced, since nothing depends on it after a crash."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shown: Status | None = None

    def show(self, status: Status) -> None:
        """Write it with ``updated_at`` added, unless it says already what it should."""
        if status == self._shown:
            return
        temporary = self._path.with_name(f".{self._path.name}")
        try:
            temporary.write_text(json.dumps({**asdict(status), "updated_at": datetime.now(UTC).isoformat()}, indent=1))
            temporary.rename(self._path)
        except OSError:
            # A disk in trouble is told of in the log; the next look tries again.
            return
        self._shown = status
