"""One build: from a leased build to a checked wheel and an attempt, through every station."""

import errno
import os
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from piwheels_builder.builder.area import Area, new_area
from piwheels_builder.builder.attempt import Attempt, BuiltWheel
from piwheels_builder.builder.bubblewrap import Sandbox
from piwheels_builder.builder.build_system import BuildSystem, check_requirements, read_build_system
from piwheels_builder.builder.collecting import collect
from piwheels_builder.builder.ending import BuildEnded
from piwheels_builder.builder.environment import Environment, Environments
from piwheels_builder.builder.fetch import SdistCache, fetch
from piwheels_builder.builder.hooks import COMMAND, Answer, Request, read_answer, source_inside, write_request
from piwheels_builder.builder.interpreter import Interpreter, describe
from piwheels_builder.builder.log import BuildLog, plain
from piwheels_builder.builder.process import Runner, run
from piwheels_builder.builder.resolution import Resolution, Resolver
from piwheels_builder.builder.sandbox import check_sandbox, personality, prepare, run_inside, variables
from piwheels_builder.builder.toolchain import fingerprint
from piwheels_builder.builder.unpack import unpack
from piwheels_builder.builder.uv import Uv
from piwheels_builder.queue.batch import LeasedBuild
from piwheels_builder.settings import BuilderSettings
from piwheels_builder.states import Outcome
from piwheels_builder.triage.classify import classify
from piwheels_builder.wheels import InspectedWheel

#: How often a backend may ask for more requirements: once for the environment it begins with, once for the one it asked for,
#: and once more for a backend that asks differently when it has got them.
_ROUNDS = 3
_LONGEST_ERROR_LINE = 500


@dataclass(frozen=True)
class Workshop:
    """What builds of one slot share. ``state_dir``, ``pythons`` and so on as in BuilderSettings; ``slot`` counts from 0."""

    state_dir: Path
    pythons: Mapping[str, Path]
    upstream: str | None = None
    first_build_uid: int | None = None
    build_seconds: float = 6 * 3600
    slot: int = 0
    runner: Runner = run

    @classmethod
    def of(cls, settings: BuilderSettings, slot: int) -> "Workshop":
        return cls(
            state_dir=settings.state_dir,
            pythons=settings.pythons,
            upstream=settings.upstream,
            first_build_uid=settings.first_build_uid,
            build_seconds=settings.build_seconds,
            slot=slot,
        )

    @property
    def build_uid(self) -> int | None:
        """The user this slot's builds run as, as far as that is ours to choose."""
        if os.geteuid() != 0 or self.first_build_uid is None:
            return None
        return self.first_build_uid + self.slot

    @property
    def uv(self) -> Uv:
        return Uv(cache=self.state_dir / "cache/uv", upstream=self.upstream, runner=self.runner)


def build(
    leased: LeasedBuild,
    lease_id: UUID,
    workshop: Workshop,
    delivery: Path,
    progress: Callable[[str], None] = lambda station: None,  # noqa: ARG005
) -> Attempt:
    """Build one release. log.txt and the wheel, if there is one, go into the existing, empty directory ``delivery``.

    Whatever the release does, and whatever fails here, is an attempt with its outcome; only KeyboardInterrupt and SystemExit pass,
    with nothing left running. ``progress`` is told the name of each station as it begins.
    """
    attempt = Attempt(lease_id, leased.build_id, leased.project, leased.version, Outcome.BUILT, datetime.now(UTC), 0.0)
    bench = _Bench(leased, workshop, delivery, progress)
    try:
        wheel = _build_logged(bench, workshop.state_dir / "area" / attempt.directory_name)
        attempt = replace(attempt, wheel=BuiltWheel(wheel.filename, wheel.sha256, wheel.size))
    except BuildEnded as ended:
        attempt = replace(
            attempt,
            outcome=ended.outcome,
            error_line=_one_line(ended.reason),
            log_tail=_tail(delivery),
            mechanism=ended.mechanism,
            missing=ended.missing,
        )
    seconds = time.monotonic() - bench.began
    return replace(attempt, seconds=seconds, peak_memory=bench.peak_memory, toolchain=bench.toolchain)


@dataclass
class _Bench:
    """One build on its way: what it is, and what has been learned so far."""

    leased: LeasedBuild
    workshop: Workshop
    delivery: Path
    progress: Callable[[str], None]
    peak_memory: int | None = None
    toolchain: str | None = None
    began: float = field(default_factory=time.monotonic)
    #: Spent in the sandbox. Only that counts against the limit: a slow upstream is not the release's fault.
    seconds_inside: float = 0.0

    def begin(self, station: str, log: BuildLog) -> None:
        self.progress(station)
        log.note(station)


def _build_logged(bench: _Bench, place: Path) -> InspectedWheel:
    """Every way in which a build can end badly becomes a BuildEnded here, and the end of the log."""
    path = bench.delivery / "log.txt"
    try:
        with BuildLog(path, bench.began) as log, new_area(place) as area:
            wheel = _through_all_stations(bench, log, area)
            log.note(f"built {wheel.filename}")
    except BuildEnded as ended:
        _note_if_possible(path, bench, f"{ended.outcome}: {ended.reason}")
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            _note_if_possible(path, bench, f"disk_full: {error}")
            raise BuildEnded(Outcome.DISK_FULL, str(error)) from error
        _note_if_possible(path, bench, "builder_fault:\n" + traceback.format_exc())
        raise BuildEnded(Outcome.BUILDER_FAULT, f"{type(error).__name__}: {error}") from error
    return wheel


def _through_all_stations(bench: _Bench, log: BuildLog, area: Area) -> InspectedWheel:
    python = _interpreter(bench)
    bench.begin(f"fetching {bench.leased.sdist.filename}", log)
    archive = fetch(bench.leased.sdist, SdistCache(bench.workshop.state_dir / "cache/sdists"))
    bench.begin("unpacking", log)
    source = unpack(archive, area.source)
    system = read_build_system(source)
    prepare(area, bench.workshop.build_uid)
    _run_hooks(bench, log, area, python, system, source_inside(area, source))
    bench.begin("checking the wheel", log)
    return collect(area, bench.leased, bench.delivery)


def _interpreter(bench: _Bench) -> Interpreter:
    wanted = bench.leased.target.python
    path = bench.workshop.pythons.get(wanted)
    if path is None:
        raise BuildEnded(Outcome.BUILDER_FAULT, f"this builder has no interpreter for {wanted}: add one to pythons in builder.yml")
    python = describe(path)
    if python.python_abi != wanted:
        raise BuildEnded(Outcome.BUILDER_FAULT, f"{path} is {python.python_abi}, and not {wanted} as builder.yml says")
    return python


def _run_hooks(  # noqa: PLR0917
    bench: _Bench, log: BuildLog, area: Area, python: Interpreter, system: BuildSystem, source: str
) -> None:
    """Have the wheel built, in an environment extended by what the backend asks for. Raises BuildEnded if it fails."""
    requires, resolved = system.requires, system.requires
    resolver = Resolver(bench.workshop.uv, bench.workshop.state_dir / "cache/resolutions", area.own)
    environments = Environments(bench.workshop.state_dir / "environments", bench.workshop.uv)
    for _ in range(_ROUNDS):
        bench.begin("resolving build requirements", log)
        resolution = resolver.resolve(requires, python, log)
        bench.begin("preparing the environment", log)
        with environments.holding(resolution, python, log) as environment:
            bench.toolchain = fingerprint(bench.leased.target, python, environment.key)
            write_request(area, _request(system, source, resolved, resolution))
            answer = _run_driver(bench, log, area, python, environment)
        if not answer.asks:
            return
        resolved += answer.requires or ()
        requires += check_requirements(list(answer.requires or ()))
    raise BuildEnded(Outcome.BUILD_ERROR, "the backend asks for other build requirements each time it is asked")


def _request(system: BuildSystem, source: str, resolved: tuple[str, ...], resolution: Resolution) -> Request:
    return Request(source, system.backend, system.backend_path, resolved=resolved, installed=tuple(resolution.versions))


def _run_driver(bench: _Bench, log: BuildLog, area: Area, python: Interpreter, environment: Environment) -> Answer:
    """One run in the sandbox. Raises BuildEnded unless the wheel is built or the backend asks for requirements."""
    target, uid = bench.leased.target, bench.workshop.build_uid
    sandbox = Sandbox(
        bwrap=check_sandbox(uid),
        area=area,
        environment=environment.path,
        prefixes=python.prefixes,
        uid=uid,
        personality=personality(target),
    )
    bench.begin("building", log)
    since = log.size()
    allowed = max(0.0, bench.workshop.build_seconds - bench.seconds_inside)
    entered = time.monotonic()
    environ = variables(target, bench.leased.sdist.upload_time)
    ended = run_inside(sandbox, COMMAND, environment=environ, output=log, runner=bench.workshop.runner, seconds=allowed)
    bench.seconds_inside += time.monotonic() - entered
    answer = read_answer(area, ended)
    bench.peak_memory = answer.peak_memory
    if ended.exit_code and not answer.asks:
        diagnosis = classify(log.text(since), ended, answer.failure)
        mechanism = ended.stop.mechanism if ended.stop else None
        raise BuildEnded(diagnosis.outcome, diagnosis.error_line, mechanism=mechanism, missing=diagnosis.missing)
    return answer


def _note_if_possible(path: Path, bench: _Bench, line: str) -> None:
    # The disk may be full, which is then what the attempt says already.
    with suppress(OSError), BuildLog(path, bench.began) as log:
        log.note(line)


def _one_line(text: str) -> str:
    return " ".join(plain(text.encode(errors="replace")).split())[:_LONGEST_ERROR_LINE]


def _tail(delivery: Path) -> str | None:
    with suppress(OSError), BuildLog(delivery / "log.txt") as log:
        return log.tail()
    return None
