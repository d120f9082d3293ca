"""Where a build finds its directories."""

from dataclasses import dataclass
from pathlib import Path

from piwheels_builder.builder.area import Area


@dataclass(frozen=True)
class Places:
    """In the sandbox always the same ones; without a sandbox those where the directories really lie."""

    build: Path
    tmp: Path
    environment: Path
    driver: Path


INSIDE = Places(Path("/build"), Path("/tmp"), Path("/env"), Path("/driver"))  # noqa: S108 - inside the sandbox


def real_places(area: Area, environment: Path) -> Places:
    """For a build in this area."""
    return Places(area.build, area.tmp, environment, area.driver)
