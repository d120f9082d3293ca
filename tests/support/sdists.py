"""Sdists made for a test, and a workshop that really builds them."""

import io
import os
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from piwheels_builder.builder.attempt import Attempt
from piwheels_builder.builder.build import build
from piwheels_builder.builder.fetch import SdistCache
from piwheels_builder.builder.interpreter import describe
from piwheels_builder.builder.trial import this_target
from piwheels_builder.builder.warm import WarmParents
from piwheels_builder.builder.workshop import Workshop
from piwheels_builder.queue.batch import LeasedBuild, Sdist
from piwheels_builder.settings import FIRST_BUILD_UID

SETUPTOOLS = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'


def make_sdist(path: Path, files: Mapping[str, str]) -> Path:
    """A .tar.gz with these files, by name in the archive."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content.encode())
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(content.encode()))
    return path


def setup_py(body: str = "", name: str = "demo", version: str = "1.0") -> dict[str, str]:
    """An sdist whose setup.py first does what ``body`` says."""
    script = f"{body}\nfrom setuptools import setup\nsetup(name={name!r}, version={version!r}, py_modules=['demo'])\n"
    return {"demo-1.0/pyproject.toml": SETUPTOOLS, "demo-1.0/setup.py": script, "demo-1.0/demo.py": "ANSWER = 42\n"}


@dataclass(frozen=True)
class Built:
    """An attempt, and where its log and its wheel are."""

    attempt: Attempt
    delivery: Path

    @property
    def log(self) -> str:
        return (self.delivery / "log.txt").read_text(errors="replace")

    @property
    def wheel(self) -> Path:
        assert self.attempt.wheel, (self.attempt.outcome, self.attempt.error_line, self.log)
        return self.delivery / self.attempt.wheel.filename


@dataclass(frozen=True)
class Yard:
    """Builds whatever it is given, on this machine's own Python, all in one state directory."""

    workshop: Workshop
    place: Path
    #: When upstream got what it builds.
    uploaded: datetime | None = None

    def build(self, files: Mapping[str, str], project: str = "demo", version: str = "1", **changes: object) -> Built:
        return self.build_file(make_sdist(self.place / f"{uuid4()}.tar.gz", files), project, version, **changes)

    def build_file(self, sdist: Path, project: str = "demo", version: str = "1", **changes: object) -> Built:
        workshop = replace(self.workshop, **changes)  # type: ignore[arg-type]
        target = this_target(describe(Path(sys.executable)))
        sha256 = SdistCache(workshop.state_dir / "cache/sdists").add(sdist)
        workshop.caches.sdists.add(sdist)
        source = Sdist(sdist.name, sdist.as_uri(), sha256, sdist.stat().st_size, self.uploaded)
        delivery = self.place / str(uuid4())
        delivery.mkdir()
        return Built(build(LeasedBuild(7, project, version, target, source, 1.0), uuid4(), workshop, delivery), delivery)


def make_yard(place: Path, *, warm: bool = False) -> Yard:
    """With ``warm``, builds are children of warm parents; whoever made the yard closes them."""
    python = Path(sys.executable)
    workshop = Workshop(place / "state", {describe(python).python_abi: python}, build_seconds=120)
    if warm:
        workshop = replace(workshop, warm=WarmParents(place / "state/area"))
    if os.geteuid() == 0:
        workshop = replace(workshop, first_build_uid=FIRST_BUILD_UID)
    return Yard(workshop, place)
