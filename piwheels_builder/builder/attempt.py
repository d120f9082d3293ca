"""An attempt: how one try of a build ended, as the builder keeps it in its outbox and records it in the database."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from piwheels_builder.errors import BadInput
from piwheels_builder.states import ImportResult, Outcome


@dataclass(frozen=True)
class Imported:
    """What came of importing a wheel. ``detail``: why it failed, or was not tried; ``missing``: the library or module it lacked."""

    result: ImportResult
    detail: str | None = None
    missing: str | None = None


@dataclass(frozen=True)
class BuiltWheel:
    """A wheel that passed the builder's checks. ``sha256`` is hex, ``size`` in bytes.

    ``libraries`` are the shared libraries that it needs of the system, each with the package that brings it, None where none does.
    """

    filename: str
    sha256: str
    size: int
    #: None from a builder of an older version.
    imported: Imported | None = None
    libraries: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Attempt:
    """``started_at`` is UTC, ``seconds`` wall time by the monotonic clock, ``peak_memory`` bytes. ``wheel`` exactly when built.

    ``mechanism`` names what ended a build that was stopped (docs/reference.md); ``missing`` the module, header, library, program
    or requirement that the build lacked, where the outcome is about one.
    """

    lease_id: UUID
    build_id: int
    project: str
    version: str
    outcome: Outcome
    started_at: datetime
    seconds: float
    peak_memory: int | None = None
    error_line: str | None = None
    log_tail: str | None = None
    mechanism: str | None = None
    missing: str | None = None
    toolchain: str | None = None
    wheel: BuiltWheel | None = None
    #: Bytes of the packed log beside it; None where there is none: of what was built, and of what nobody came back from.
    log_size: int | None = None

    @property
    def directory_name(self) -> str:
        """Where it lies in the outbox, and in the index host's incoming directory of its builder."""
        return f"{self.lease_id}-{self.build_id}"

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Attempt":
        """The inverse of ``to_json``. Raises BadInput for anything else."""
        try:
            fields: dict[str, Any] = json.loads(text)
            fields["lease_id"] = UUID(fields["lease_id"])
            fields["outcome"] = Outcome(fields["outcome"])
            fields["started_at"] = datetime.fromisoformat(fields["started_at"])
            if fields["wheel"] is not None:
                fields["wheel"] = _wheel(fields["wheel"])
            return cls(**fields)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            raise BadInput(f"not an attempt: {error!r}") from error


def _wheel(fields: dict[str, Any]) -> BuiltWheel:
    said = fields.pop("imported", None)
    imported = said and Imported(ImportResult(said["result"]), said["detail"], said["missing"])
    return BuiltWheel(**fields, imported=imported)
