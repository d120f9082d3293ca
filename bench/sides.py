"""The sides of the build benchmark, pip in a loop, the service and the command: each builds the whole list, and says how fast."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

import yaml
from packaging.utils import canonicalize_name, canonicalize_version

from bench.offline import Offline, Pinned
from bench.watching import Footprint, footprint
from piwheels_builder.builder.interpreter import describe
from piwheels_builder.builder.spool import write_batch
from piwheels_builder.builder.trial import this_target
from piwheels_builder.queue.batch import Batch, LeasedBuild, Sdist
from piwheels_builder.settings import FIRST_BUILD_UID

#: Nothing here may take longer, in seconds: the service to start; the whole list by the service.
PATIENCE = 120
LIST_PATIENCE = 900
_NOBODY = "host=/nonexistent dbname=nobody user=nobody"


@dataclass(frozen=True)
class Round:
    """One side's way through the list: ``total`` seconds of wall time, and of each release its seconds and outcome."""

    total: float
    seconds: Mapping[Pinned, float]
    outcomes: Mapping[Pinned, str]
    #: Bytes of the largest process of this side.
    peak: int = 0

    @property
    def built(self) -> set[Pinned]:
        return {release for release, outcome in self.outcomes.items() if outcome == "built"}


@dataclass(frozen=True)
class Site:
    """Where everything of one run of the benchmark lies, and what is told of it as it happens."""

    offline: Offline
    index: str
    place: Path
    tell: Callable[[str], None]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def releases(self) -> tuple[Pinned, ...]:
        return self.offline.releases


def by_pip(site: Site) -> Round:
    """``pip wheel`` once a release, in a loop, as fleets before this one did."""
    wheels = _empty(site.place / "pip")
    base = [site.offline.pip, "-m", "pip", "wheel", "--no-deps", "--no-cache-dir", "--wheel-dir", wheels, "--no-index"]
    base += ["--find-links", site.offline.files]
    return _one_by_one(
        site, "pip", lambda release: [*base, "--no-binary", release.project, f"{release.project}=={release.version}"]
    )


def by_command(site: Site, what: str, state: Path) -> Round:
    """``piwheels-builder build FILE`` once a release, with the environments that are in ``state`` already, but not its sdists."""
    wheels = _empty(site.place / "wheels")
    shutil.rmtree(state / "cache/sdists", ignore_errors=True)
    command = Path(sys.executable).with_name("piwheels-builder")
    options = ["--python", Path(sys.executable), "--wheel-dir", wheels, "--state-dir", state]
    return _one_by_one(site, what, lambda release: [command, "build", site.offline.sdists[release], *options])


def _one_by_one(site: Site, what: str, command: Callable[[Pinned], list[object]]) -> Round:
    seconds, outcomes, peak, began = {}, {}, 0, time.monotonic()
    for number, release in enumerate(site.releases, 1):
        site.tell(f"{what} {number}/{len(site.releases)} {release}")
        started = time.monotonic()
        code, largest = _run(site, list(map(str, command(release))))
        seconds[release], outcomes[release], peak = (
            time.monotonic() - started,
            "built" if code == 0 else f"exit {code}",
            max(peak, largest),
        )
    return Round(time.monotonic() - began, seconds, outcomes, peak)


def _run(site: Site, command: list[str]) -> tuple[int, int]:
    """Exit code, and bytes of the largest process that was waited for."""
    with (site.place / "output.txt").open("ab") as output:
        process = subprocess.Popen(
            command, env=site.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=site.place
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * 1024


@dataclass(frozen=True)
class Service:
    """``piwheels-builder serve`` with its database away, so that everything it delivers stays in its outbox."""

    site: Site
    state: Path
    process: subprocess.Popen[bytes]

    def build_all(self, what: str) -> Round:
        """Deliver the whole list as one batch and wait for the last of it in the outbox."""
        shutil.rmtree(self.state / "cache/sdists", ignore_errors=True)
        lease, builds = uuid4(), dict(enumerate(self.site.releases, 1))
        batch = Batch(lease, "bench", tuple(_leased(self.site, number, release) for number, release in builds.items()))
        began = time.time()
        write_batch(self.state / "spool", batch)
        ends = self._wait_for(lease, builds, what)
        results = {number: json.loads((self._entry(lease, number) / "result.json").read_text()) for number in builds}
        peak = max((result["peak_memory"] or 0 for result in results.values()), default=0)
        return Round(
            total=max(ends.values()) - began,
            seconds=_each(
                builds, ends, min(datetime.fromisoformat(result["started_at"]).timestamp() for result in results.values())
            ),
            outcomes={release: results[number]["outcome"] for number, release in builds.items()},
            peak=peak,
        )

    def footprint(self) -> Footprint:
        return footprint(self.process.pid)

    def _entry(self, lease: UUID, number: int) -> Path:
        return self.state / "outbox" / f"{lease}-{number}"

    def _wait_for(self, lease: UUID, builds: Mapping[int, Pinned], what: str) -> dict[int, float]:
        """When each entry appeared in the outbox, by the file system's clock."""
        deadline, ends = time.monotonic() + LIST_PATIENCE, dict[int, float]()
        while missing := builds.keys() - ends.keys():
            if time.monotonic() > deadline or self.process.poll() is not None:
                late = ", ".join(str(builds[number]) for number in missing)
                raise SystemExit(f"{what}: the service did not deliver {late}")
            # A rename changes ctime: the moment of delivery, whenever we look.
            new = {number: entry.stat().st_ctime for number in missing if (entry := self._entry(lease, number)).exists()}
            if new:
                ends.update(new)
                self.site.tell(f"{what} {len(ends)}/{len(builds)}")
            time.sleep(0.1)
        return ends


@contextmanager
def service(site: Site, state: Path, slots: int) -> Iterator[Service]:
    """Start the service over a state directory, which may hold what earlier ones left; stop it in order after the block."""
    python = Path(sys.executable)
    target = this_target(describe(python))
    settings = {
        "name": "bench",
        "database": _NOBODY,
        "state_dir": str(state),
        "pythons": {target.python: str(python)},
        "architecture": target.architecture,
        "os_release": target.os_release,
        "slots": slots,
        "upstream": site.index,
        "first_build_uid": FIRST_BUILD_UID,
    }
    state.mkdir(exist_ok=True)
    (state / "builder.yml").write_text(yaml.safe_dump(settings))
    program = Path(sys.executable).with_name("piwheels-builder")
    command = [os.fspath(program), "serve", "--settings", os.fspath(state / "builder.yml")]
    with (state / "log.txt").open("ab") as log, subprocess.Popen(command, env=site.environment, stdout=log, stderr=log) as process:
        try:
            _wait_until_it_looks(state)
            yield Service(site, state, process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _wait_until_it_looks(state: Path) -> None:
    (state / "status.json").unlink(missing_ok=True)
    deadline = time.monotonic() + PATIENCE
    while not (state / "status.json").exists():
        if time.monotonic() > deadline:
            raise SystemExit(f"the service did not start: {(state / 'log.txt').read_text()}")
        time.sleep(0.1)


def _each(builds: Mapping[int, Pinned], ends: Mapping[int, float], began: float) -> dict[Pinned, float]:
    """With one slot, the time from one delivery to the next: nothing that the service does for a release is left out.

    The first one counts from when it began; until the service saw the batch is part of the total only.
    """
    seconds, before = {}, began
    for number in sorted(builds, key=lambda number: ends[number]):
        seconds[builds[number]], before = ends[number] - before, ends[number]
    return seconds


def _leased(site: Site, number: int, release: Pinned) -> LeasedBuild:
    path = site.offline.sdists[release]
    url = f"{site.index.removesuffix('simple/')}files/{path.name}"
    target = this_target(describe(Path(sys.executable)))
    sdist = Sdist(path.name, url, release.sha256, path.stat().st_size)
    return LeasedBuild(number, canonicalize_name(release.project), canonicalize_version(release.version), target, sdist, 1.0)


def _empty(place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    return place
