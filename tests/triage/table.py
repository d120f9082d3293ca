"""The table of real releases that do not build, and the logs beside it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from piwheels_builder.builder.process import Ended
from piwheels_builder.builder.resolution import uv_failure
from piwheels_builder.states import Outcome
from piwheels_builder.triage.classify import Diagnosis, classify

PLACE = Path(__file__).parent
#: What the driver ends with when a backend raises something.
FAILED = Ended(91)
#: Of the builder's own lines in a log: the one before a run of the driver, and the one it ends with.
_BUILDING = re.compile(r"^== [\d.]+ s  building\n", re.MULTILINE)
_NOTE = re.compile(r"^== [\d.]+ s  ", re.MULTILINE)


@dataclass(frozen=True)
class Release:
    """One row. ``found``: "log" of the build, "resolving" its requirements or "checking" its wheel; ``python`` is an ABI."""

    project: str
    version: str
    python: str
    outcome: Outcome
    error_line: str
    missing: str | None = None
    found: str = "log"
    taken_for: Outcome | None = None

    @classmethod
    def of(cls, row: dict[str, Any]) -> "Release":
        fields = {key: value for key, value in row.items() if key != "note"}
        for key in {"outcome", "taken_for"} & fields.keys():
            fields[key] = Outcome(fields[key])
        return cls(**fields)

    @property
    def name(self) -> str:
        return f"{self.project}-{self.version}"

    @property
    def log(self) -> str:
        """All that was recorded, the builder's own lines too."""
        names = (f"{self.name}-{self.python}.txt", f"{self.name}.txt")
        return next(path for name in names if (path := PLACE / "logs" / name).is_file()).read_text(encoding="utf-8")

    @property
    def said(self) -> Diagnosis:
        """What the triage makes of the recorded log."""
        log = self.log
        if self.found == "resolving":
            ended = uv_failure(log)
            return Diagnosis(ended.outcome, ended.reason, ended.missing)
        *_, run = _BUILDING.split(log)
        return classify(_NOTE.split(run)[0], FAILED)


def releases() -> list[Release]:
    """All rows, as they stand."""
    rows = yaml.safe_load((PLACE / "releases.yml").read_text(encoding="utf-8"))
    return [Release.of(row) for row in rows]
