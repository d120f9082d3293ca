"""Runs a program on a wheel after its build: in an area of its own, enclosed and bounded as that build was."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from piwheels_builder.builder import bare
from piwheels_builder.builder.area import Area, new_area
from piwheels_builder.builder.bubblewrap import Sandbox, command, opened_by
from piwheels_builder.builder.environment import Environment, Environments
from piwheels_builder.builder.interpreter import Interpreter
from piwheels_builder.builder.log import BuildLog
from piwheels_builder.builder.making import Bench
from piwheels_builder.builder.places import Places
from piwheels_builder.builder.process import Ended
from piwheels_builder.builder.resolution import Resolver
from piwheels_builder.builder.sandbox import personality, prepare, sandbox_program, variables
from piwheels_builder.builder.watch import watch_for

#: Of a build's time: ten minutes of six hours, and as much more as a model is slower.
_PART_OF_BUILD = 36
#: Environments with other things than build requirements, which are used far more often.
_MOST_KEPT = 4


@dataclass(frozen=True)
class Enclosure:
    """``bench`` is one whose workshop has all on disk: what doesn't fit into memory must not send the build itself round again."""

    bench: Bench
    log: BuildLog
    area: Area
    python: Interpreter

    @contextmanager
    def environment(self, requirements: Sequence[str]) -> Iterator[Environment]:
        """One with these, of wheels only. Raises BuildEnded, OSError."""
        uv, caches = self.bench.workshop.uv, self.bench.workshop.caches
        resolution = Resolver(uv, caches.resolutions, self.area.own).resolve(requirements, self.python, self.log)
        environments = Environments(caches.directory / "proving", uv, _MOST_KEPT, spare_bytes=caches.spare_bytes)
        with environments.holding(resolution, self.python, self.log) as environment:
            yield environment

    def places(self, environment: Environment) -> Places:
        """Where the program finds its directories."""
        return self.bench.places(self.area, environment)

    def run(self, environment: Environment, program: Sequence[str]) -> Ended:
        """Run it on what lies in the area, which is handed to the build's user. Nothing is left running."""
        bench, workshop, limits = self.bench, self.bench.workshop, self.bench.limits
        (prepare if workshop.sandboxed else bare.prepare)(self.area, workshop.build_uid)
        watch = watch_for(limits, slot=workshop.slot, directories=[self.area.opened])
        with bare.swept(None if workshop.sandboxed else workshop.build_uid):
            return workshop.runner(
                self._command(environment, program),
                environment=variables(bench.leased.target, bench.leased.sdist.upload_time, places=self.places(environment)),
                output=self.log,
                seconds=workshop.build_seconds / _PART_OF_BUILD,
                output_bytes=limits.log_bytes,
                watch=watch,
            )

    def _command(self, environment: Environment, program: Sequence[str]) -> list[str]:
        uid, pretended = self.bench.workshop.build_uid, personality(self.bench.leased.target)
        if not self.bench.workshop.sandboxed:
            return bare.command(bare.Bare(self.places(environment).build, uid, pretended, self.bench.limits), program)
        sandbox = Sandbox(
            bwrap=sandbox_program(uid),
            environment=environment.path,
            driver=self.area.driver,
            etc=self.area.etc,
            opened=opened_by(self.area),
            prefixes=self.python.prefixes,
            uid=uid,
            personality=pretended,
            limits=self.bench.limits,
        )
        return command(sandbox, program)


@contextmanager
def enclosure(bench: Bench, log: BuildLog, python: Interpreter, purpose: str) -> Iterator[Enclosure]:
    """With a new area, gone after the block. ``purpose`` is part of its name. Raises OSError."""
    workshop = bench.workshop.all_on_disk()
    workshop.area.mkdir(parents=True, exist_ok=True)
    with new_area(workshop.area / f"{bench.delivery.name.lstrip('.')}-{purpose}") as area:
        yield Enclosure(replace(bench, workshop=workshop), log, area, python)
