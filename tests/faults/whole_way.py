"""Builds followed all the way, from their lease to the tree, whatever is done to their builder meanwhile."""

import hashlib
import io
import os
import sys
import tarfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import psutil

from piwheels_builder.builder.in_memory import memory_directory
from piwheels_builder.builder.interpreter import describe
from piwheels_builder.builder.outbox import Outbox
from piwheels_builder.builder.service import Build, Service
from piwheels_builder.builder.spool import Spool, write_batch
from piwheels_builder.builder.trial import this_target
from piwheels_builder.queue.batch import Batch, LeasedBuild, Sdist
from piwheels_builder.settings import FIRST_BUILD_UID, BuilderSettings
from piwheels_builder.states import Blame, Outcome
from piwheels_builder.targets import Target
from tests.support.builders import eventually, lease_everything, serving
from tests.support.fleet import Fleet
from tests.support.simple_index import offer
from tests.support.upstream import Upstream
from tests.support.wheelmaking import make_wheel

PLENTY = 2**40
OF_ITS_OWN = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
#: Makes a wheel with nothing but the standard library, so that a build costs what the builder itself costs.
_BACKEND = """
import base64, hashlib, os, zipfile
def build_wheel(directory, config_settings=None, metadata_directory=None):
    name, version = os.path.basename(os.getcwd()).rpartition("-")[0], "1.0"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": b"ANSWER = 42\\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    filename = f"{name}-{version}-py3-none-any.whl"
    record = ""
    with zipfile.ZipFile(os.path.join(directory, filename), "w") as wheel:
        for path, content in files.items():
            wheel.writestr(path, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
            record += f"{path},sha256={digest},{len(content)}\\n"
        wheel.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\\n")
    return filename
"""

#: The same backend from the index, under a name that warm parents know.
WARMABLE = '[build-system]\nrequires = ["flit-core"]\nbuild-backend = "flit_core.buildapi"\n'


def tiny_sdist(project: str, pyproject: str = OF_ITS_OWN, backend: str = _BACKEND) -> bytes:
    """An sdist of version 1.0 that needs nothing to be built, with a directory and a link besides."""
    stem, raw = f"{project}-1.0", io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as archive:
        for path, text in {
            "pyproject.toml": pyproject,
            "backend.py": backend,
            "docs/a/b.txt": "b",
        }.items():
            member = tarfile.TarInfo(f"{stem}/{path}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
        for kind, path, target in (
            (tarfile.SYMTYPE, "link", "backend.py"),
            (tarfile.LNKTYPE, "hard", f"{stem}/backend.py"),
        ):
            member = tarfile.TarInfo(f"{stem}/{path}")
            member.type, member.linkname = kind, target
            archive.addfile(member)
    return raw.getvalue()


def offered(upstream: Upstream, project: str, pyproject: str = OF_ITS_OWN) -> Sdist:
    """A tiny sdist on the index."""
    content = tiny_sdist(project, pyproject)
    filename = upstream.add_file(project, f"{project}-1.0.tar.gz", content)
    url = f"{upstream.url.removesuffix('/simple/')}/files/{project}/{filename}"
    return Sdist(filename, url, hashlib.sha256(content).hexdigest(), len(content))


def offer_backend(index: Path) -> None:
    """What WARMABLE asks for, on an index of files (simple_index)."""
    index.mkdir(exist_ok=True)
    content = {"flit_core/buildapi.py": _BACKEND.encode(), "flit_core/wheel.py": b""}
    offer(index, make_wheel(index, "flit_core", "3.12", content=content))
    (index / "simple/flit_core").rename(index / "simple/flit-core")


def here() -> Target:
    """The target that is built by the Python of these tests."""
    return this_target(describe(Path(sys.executable)))


def real_settings(state_dir: Path, fleet: Fleet, **fields: object) -> BuilderSettings:
    """A builder ``here`` that really builds. The fleet must know it."""
    target = here()
    usual = BuilderSettings(
        name="here",
        database=fleet.database.conninfo("builder_here"),
        state_dir=state_dir,
        pythons={target.python: Path(sys.executable)},
        architecture=target.architecture,
        os_release=target.os_release,
        upstream="http://127.0.0.1:1/simple/",
        first_build_uid=FIRST_BUILD_UID if os.geteuid() == 0 else None,
        build_seconds=60,
        heartbeat_seconds=0.05,  # type: ignore[arg-type]
    )
    return replace(usual, **fields)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Way:
    """``sdist`` says what a project is built from; None where the build function asks for nothing."""

    fleet: Fleet
    settings: BuilderSettings
    build: Build
    sdist: Callable[[str], Sdist] | None = None

    @property
    def spool_dir(self) -> Path:
        return self.settings.state_dir / "spool"

    def service(self) -> Service:
        """A service as systemd starts it: once more where the disk refused its first directories."""
        while True:
            with suppress(OSError):
                return Service(self.settings, self.build, space=lambda _: PLENTY, first_pause=0.02)

    def lease(self) -> Batch | None:
        """All that can be leased, the pauses after a fault over."""
        self.fleet.ask("UPDATE queue SET not_before = '-infinity', held = NULL WHERE lease_id IS NULL")
        if not self.fleet.ask("SELECT 1 FROM queue WHERE lease_id IS NULL AND not_before <= now()"):
            return None
        try:
            batch = lease_everything(self.fleet, self.settings.name)
        except IndexError:
            # The builder has said that it has no room, and is given nothing until it has.
            return None
        return replace(batch, builds=tuple(map(self._with_its_sdist, batch.builds)))

    def deliver(self, batch: Batch) -> None:
        """As a play does, again where it was told of an error."""

        def written() -> bool:
            try:
                write_batch(self.spool_dir, batch)
            except OSError:
                return False
            return True

        eventually(written)

    def follow(self, build_id: int, seconds: float = 20) -> None:
        """Serve, lease and deliver until a build is built, published, and gone from the builder."""
        with serving(self.service()):
            eventually(lambda: self._is_built(build_id), seconds)
            eventually(lambda: not self._publish_all() and not self.left(), seconds)

    def _publish_all(self) -> list[int]:
        awaiting = [
            number for (number,) in self.fleet.ask("SELECT wheel_id FROM wheel WHERE published_at IS NULL AND lost_at IS NULL")
        ]
        for wheel_id in awaiting:
            self.fleet.publish(wheel_id)
        # Attempts that the disk ended have a log, which the index host keeps.
        self.fleet.ask("SELECT log_stored(attempt_id, 'log.gz') FROM log_awaiting", role="piwheels_publisher")
        return awaiting

    def left(self) -> list[str]:
        """What a builder that has nothing to do still holds, and should not."""
        spool = Spool(self.spool_dir, self.settings)
        entries = [entry.name for entry in Outbox(self.settings.state_dir / "outbox").entries()]
        return entries + list(map(str, spool.held()[0])) + leftovers(self.settings.state_dir)

    def _is_built(self, build_id: int) -> bool:
        batch = self.lease()
        if batch:
            self.deliver(batch)
        return self.fleet.state(build_id) in {"built", "published"}

    def _with_its_sdist(self, build: LeasedBuild) -> LeasedBuild:
        if self.sdist is None:
            return build
        return replace(build, sdist=self.sdist(build.project), target=here())


def check_records(fleet: Fleet) -> int:
    """Every lease has one result a build, and none of them is a release's fault. Returns how many results there are."""
    attempts: list[tuple[int, UUID, str]] = fleet.ask("SELECT build_id, lease_id, outcome::text FROM attempt")
    assert len({(build_id, lease_id) for build_id, lease_id, _ in attempts}) == len(attempts)
    blamed = [outcome for _, _, outcome in attempts if Outcome(outcome).blame not in {Blame.NONE, Blame.INFRASTRUCTURE}]
    assert blamed == [], blamed
    assert fleet.ask("SELECT build_id FROM build WHERE state = 'failed'") == []
    # One wheel a build: what was built once is not built again.
    assert fleet.ask("SELECT build_id FROM wheel WHERE lost_at IS NULL GROUP BY build_id HAVING count(*) > 1") == []
    return len(attempts)


def leftovers(state_dir: Path) -> list[str]:
    """What nobody will ever look at again: below a state directory whose builder has nothing to do."""
    found = [path for name in ("spool/begun", "outbox/refused", "spool/refused") for path in _inside(state_dir / name)]
    # A warm parent stays while its service does.
    found += [path for path in areas(state_dir) if not path.name.startswith("warm-")]
    for name in ("environments", "cache/sdists", "cache/resolutions", "spool", "spool/begun", "spool/finished", "outbox", "."):
        found += [path for path in _inside(state_dir / name) if path.name.startswith(".") and path.name != ".status.json"]
    return sorted(os.path.relpath(path, state_dir) for path in found)


def areas(state_dir: Path) -> list[Path]:
    """The directories of builds and warm parents, on the disk and in memory."""
    return [*_inside(state_dir / "area"), *_inside(memory_directory(state_dir))]


def processes_of(state_dir: Path) -> list[str]:
    """Whatever runs on behalf of a builder: in one of its sandboxes, or with a path of its own in its command line."""
    # A mount's path begins at the root of its file system, which may be further down than ours.
    places = ("/".join(state_dir.parts[-2:]), memory_directory(state_dir).name)
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        mounts = ""
        with suppress(OSError):
            mounts = Path(f"/proc/{process.pid}/mountinfo").read_text()
        words = " ".join(process.info["cmdline"] or [])
        if process.pid != os.getpid() and any(place in mounts or place in words for place in places):
            found.append(words)
    return found


def _inside(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []


def until(condition: Callable[[], object], seconds: float) -> bool:
    """Whether something holds within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
