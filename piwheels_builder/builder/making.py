"""Has the wheel of an unpacked source made: requirements resolved, their environment prepared, the hooks run in the sandbox."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path
from types import MappingProxyType

from piwheels_builder.builder import bare
from piwheels_builder.builder.area import Area
from piwheels_builder.builder.attempt import Imported
from piwheels_builder.builder.bubblewrap import Sandbox, command, opened_by
from piwheels_builder.builder.build_system import BuildSystem, check_requirements
from piwheels_builder.builder.disk import SPARE_BYTES, free_bytes
from piwheels_builder.builder.ending import BuildEnded
from piwheels_builder.builder.environment import Environment, Environments
from piwheels_builder.builder.hooks import Answer, Request, driver_command, read_answer, source_inside, write_request
from piwheels_builder.builder.inside.words import ADOPT, MARK
from piwheels_builder.builder.interpreter import Interpreter
from piwheels_builder.builder.limits import Limits
from piwheels_builder.builder.log import READ_AGAIN, BuildLog
from piwheels_builder.builder.places import INSIDE, Places, real_places
from piwheels_builder.builder.process import Ended, follow
from piwheels_builder.builder.resolution import Resolution, Resolver
from piwheels_builder.builder.sandbox import personality, sandbox_program, variables
from piwheels_builder.builder.toolchain import fingerprint
from piwheels_builder.builder.warm_parent import NotWarm, Order
from piwheels_builder.builder.watch import watch_for
from piwheels_builder.builder.workshop import Workshop
from piwheels_builder.queue.batch import LeasedBuild
from piwheels_builder.states import Outcome
from piwheels_builder.triage.classify import classify, tells_of_full_disk

#: How often a backend may ask for more requirements: once for the environment it begins with, once for the one it asked for,
#: and once more for a backend that asks differently when it has got them.
_ROUNDS = 3
#: What a compiler takes on most sources; a build that needs more comes back in a larger class.
_COMPILER_BYTES = 160 * 2**20


@dataclass(frozen=True)
class Learned:
    """What one try of a build tells besides how it ended; both as in Attempt."""

    toolchain: str | None = None
    peak_memory: int | None = None


@dataclass
class Bench:
    """One build on its way: what it is, and what has been learned so far."""

    leased: LeasedBuild
    workshop: Workshop
    delivery: Path
    progress: Callable[[str], None]
    #: Build requirements are those of this day; None means today's.
    tools_as_of: date | None = None
    learned: Learned = Learned()
    #: Of the wheel: whether it imports, and its libraries as in BuiltWheel.
    found: tuple[Imported | None, Mapping[str, str | None]] = (None, MappingProxyType({}))
    began: float = field(default_factory=time.monotonic)
    #: Spent in the sandbox. Only that counts against the limit: a slow upstream is not the release's fault.
    seconds_inside: float = 0.0

    @property
    def limits(self) -> Limits:
        return self.workshop.limits_of(self.leased.memory_class)

    @property
    def jobs(self) -> int:
        """How many compilers may run at once: one for each core that is ours, as far as their memory goes."""
        return max(1, min(self.workshop.cores, self.limits.memory_bytes // _COMPILER_BYTES))

    def fingerprint(self, python: Interpreter, environment: Environment, resolution: Resolution) -> str:
        return fingerprint(self.leased.target, python, environment.key, resolution.pins, self.workshop.caches.toolchain)

    def places(self, area: Area, environment: Environment) -> Places:
        """Where the build finds its directories."""
        return INSIDE if self.workshop.sandboxed else real_places(area, environment.path)

    def begin(self, station: str, log: BuildLog) -> None:
        self.progress(station)
        log.note(station)


@dataclass(frozen=True)
class Source:
    """An unpacked source in its area, and the Python it is built for."""

    area: Area
    directory: Path
    system: BuildSystem
    python: Interpreter

    def request(self, resolved: tuple[str, ...], resolution: Resolution, jobs: int, places: Places) -> Request:
        return Request(
            source_inside(self.area, self.directory, places),
            self.system.backend,
            self.system.backend_path,
            resolved,
            tuple(resolution.versions),
            jobs,
            str(places.build),
        )


def make_wheel(bench: Bench, log: BuildLog, source: Source) -> None:
    """Have the wheel built, in an environment extended by what the backend asks for. Raises BuildEnded if it fails."""
    requires, resolved = source.system.requires, source.system.requires
    uv, caches = bench.workshop.uv, bench.workshop.caches
    resolver = Resolver(uv, caches.resolutions, source.area.own, bench.tools_as_of)
    elsewhere = () if bench.workshop.caches_in_memory is None else (bench.workshop.all_on_disk().caches.environments,)
    environments = Environments(caches.environments, uv, spare_bytes=caches.spare_bytes, elsewhere=elsewhere)
    for _ in range(_ROUNDS):
        bench.begin("resolving build requirements", log)
        resolution = resolver.resolve(requires, source.python, log)
        bench.begin("preparing the environment", log)
        with environments.holding(resolution, source.python, log) as environment:
            bench.learned = Learned(bench.fingerprint(source.python, environment, resolution))
            request = source.request(resolved, resolution, bench.jobs, bench.places(source.area, environment))
            answer = _run_driver(bench, log, source, environment, request)
        if not answer.asks:
            return
        resolved += answer.requires or ()
        requires += check_requirements(list(answer.requires or ()))
    raise BuildEnded(Outcome.BUILD_ERROR, "the backend asks for other build requirements each time it is asked")


def _run_driver(bench: Bench, log: BuildLog, source: Source, environment: Environment, request: Request) -> Answer:
    """One run in the sandbox. Raises BuildEnded unless the wheel is built or the backend asks for requirements."""
    bench.begin("building", log)
    since, entered = log.size(), time.monotonic()
    ended = _run_inside(bench, log, source, environment, request)
    bench.seconds_inside += time.monotonic() - entered
    bench.learned = replace(bench.learned, peak_memory=ended.peak_memory)
    answer = read_answer(source.area, ended)
    if ended.exit_code and not answer.asks:
        raise _failure(bench, ended, answer, log, since)
    return answer


def _failure(bench: Bench, ended: Ended, answer: Answer, log: BuildLog, since: int) -> BuildEnded:
    said = log.text(since)
    # Whatever stands before the driver's own first line, or without it, is the sandbox's. A flood has carried that line away.
    before, mark, rest = said.partition(MARK)
    began = bool(mark) or log.size() - since > READ_AGAIN
    said = rest.partition("\n")[2] if mark else before
    in_memory = bench.workshop.in_memory is not None
    # There a neighbour may have filled it for a moment: whoever says so is tried on the disk.
    disk_was_full = free_bytes(bench.workshop.area) < SPARE_BYTES or (in_memory and tells_of_full_disk(said))
    found = classify(said, ended, answer.failure, began=began, disk_was_full=disk_was_full)
    own_limit = "rlimit" if found.outcome is Outcome.OUT_OF_MEMORY else None
    mechanism = ended.stop.mechanism if ended.stop else own_limit
    return BuildEnded(found.outcome, found.error_line, mechanism=mechanism, missing=found.missing, tools_until=found.tools_until)


def _run_inside(bench: Bench, log: BuildLog, source: Source, environment: Environment, request: Request) -> Ended:
    """In a child of a warm parent if it can be, else in an interpreter of its own; nothing is left running either way."""
    limits, places = bench.limits, bench.places(source.area, environment)
    named = variables(bench.leased.target, bench.leased.sdist.upload_time, request.jobs, places)
    watch = watch_for(limits, slot=bench.workshop.slot, directories=[source.area.opened])
    seconds = max(0.0, bench.workshop.build_seconds - bench.seconds_inside)
    run = partial(bench.workshop.runner, environment=named, output=log, seconds=seconds, output_bytes=limits.log_bytes, watch=watch)
    if not bench.workshop.sandboxed:
        log.note("without a sandbox")
        return _run_bare(bench, source.area, request, places, run)
    sandbox = _sandbox(bench, source, environment)
    order = Order(source.area, request, named, limits.rlimits())
    if bench.workshop.warm is not None:
        try:
            with bench.workshop.warm.child(order, sandbox, environment) as child:
                watch.admit(child.pid)
                child.go()
                return follow(child, output=log, seconds=seconds, output_bytes=limits.log_bytes, watch=watch)
        except NotWarm as reason:
            log.note(f"in an interpreter of its own: {reason}")
    write_request(source.area, request)
    return run(command(sandbox, driver_command(places)))


def _run_bare(bench: Bench, area: Area, request: Request, places: Places, run: Callable[[Sequence[str]], Ended]) -> Ended:
    """Without a sandbox. As root nothing is left running; else what left the build's process group may be."""
    write_request(area, request)
    uid = bench.workshop.build_uid
    how = bare.Bare(places.build, uid, personality(bench.leased.target), bench.limits)
    with bare.swept(uid):
        return run(bare.command(how, driver_command(places, ADOPT)))


def _sandbox(bench: Bench, source: Source, environment: Environment) -> Sandbox:
    return Sandbox(
        bwrap=sandbox_program(bench.workshop.build_uid),
        environment=environment.path,
        driver=source.area.driver,
        etc=source.area.etc,
        opened=opened_by(source.area),
        prefixes=source.python.prefixes,
        uid=bench.workshop.build_uid,
        personality=personality(bench.leased.target),
        limits=bench.limits,
    )
