"""A batch: builds leased together to one builder, as it travels from the queue through dispatch into a spool."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from piwheels_builder.errors import BadInput
from piwheels_builder.targets import Target


@dataclass(frozen=True)
class Sdist:
    """Where a release's source is, and what it must be. ``sha256`` is hex or None where upstream gives none; ``size`` in bytes."""

    filename: str
    url: str
    sha256: str | None
    size: int | None
    upload_time: datetime | None = None


@dataclass(frozen=True)
class LeasedBuild:
    """One release for one target. ``version`` is canonical (PEP 440, trailing zeros stripped); ``memory_class`` as in the queue.

    An ``urgent`` one is begun before what has waited in the spool.
    """

    build_id: int
    project: str
    version: str
    target: Target
    sdist: Sdist
    estimate_seconds: float
    memory_class: int = 0
    urgent: bool = False


@dataclass(frozen=True)
class Batch:
    """What one lease holds, in the order to build it."""

    lease_id: UUID
    builder: str
    builds: tuple[LeasedBuild, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Batch":
        """The inverse of ``to_json``. Raises BadInput for anything else."""
        try:
            return cls.from_mapping(json.loads(text))
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            raise BadInput(f"not a batch: {error!r}") from error

    @classmethod
    def from_mapping(cls, fields: Mapping[str, Any]) -> "Batch":
        builds = tuple(_build(build) for build in fields["builds"])
        return cls(lease_id=UUID(fields["lease_id"]), builder=str(fields["builder"]), builds=builds)


def _build(fields: Mapping[str, Any]) -> LeasedBuild:
    return LeasedBuild(
        build_id=int(fields["build_id"]),
        project=str(fields["project"]),
        version=str(fields["version"]),
        target=Target(**fields["target"]),
        sdist=_sdist(fields["sdist"]),
        estimate_seconds=float(fields["estimate_seconds"]),
        # A batch of an older version, still in a spool, has neither.
        memory_class=int(fields.get("memory_class", 0)),
        urgent=fields.get("urgent") is True,
    )


def _sdist(fields: Mapping[str, Any]) -> Sdist:
    uploaded = fields.get("upload_time")
    return Sdist(
        filename=str(fields["filename"]),
        url=str(fields["url"]),
        sha256=fields["sha256"],
        size=fields["size"],
        upload_time=datetime.fromisoformat(uploaded) if uploaded else None,
    )
