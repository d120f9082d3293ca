"""A compiled wheel is installed beside its requirements, and its modules are imported, before anybody is offered it.

On the builder, since the index host has no interpreter of the target; in a sandbox of its own, since it is a stranger's code.
"""

import json
import os
from dataclasses import dataclass, replace
from email.parser import BytesParser
from typing import Any

from piwheels_builder.builder import bare
from piwheels_builder.builder.area import Area, new_area, open_left
from piwheels_builder.builder.attempt import Imported
from piwheels_builder.builder.bubblewrap import Sandbox, command, opened_by
from piwheels_builder.builder.build_system import check_requirements
from piwheels_builder.builder.ending import BuildEnded
from piwheels_builder.builder.environment import Environment, Environments
from piwheels_builder.builder.hooks import write_inside
from piwheels_builder.builder.inside.words import ADOPT, MARK
from piwheels_builder.builder.interpreter import Interpreter
from piwheels_builder.builder.log import BuildLog
from piwheels_builder.builder.making import Bench
from piwheels_builder.builder.modules import modules_to_import
from piwheels_builder.builder.places import Places
from piwheels_builder.builder.process import Ended
from piwheels_builder.builder.resolution import Resolver, uv_failure
from piwheels_builder.builder.sandbox import personality, prepare, sandbox_program, variables
from piwheels_builder.builder.verdict import Answer, verdict
from piwheels_builder.builder.watch import watch_for
from piwheels_builder.catalogue.filenames import is_pure
from piwheels_builder.states import ImportResult
from piwheels_builder.wheels import InspectedWheel

#: Of a build's time: ten minutes of six hours, and as much more as a model is slower.
_PART_OF_BUILD = 36
#: Environments with requirements of wheels; those of builds are used far more often.
_MOST_KEPT = 4
_LARGEST_ANSWER = 2**16


@dataclass(frozen=True)
class _Trial:
    """One wheel about to be imported. ``bench`` is one whose workshop has all on disk."""

    bench: Bench
    log: BuildLog
    area: Area
    python: Interpreter


def try_import(bench: Bench, log: BuildLog, wheel: InspectedWheel, python: Interpreter) -> Imported:
    """Import what the wheel in ``bench.delivery`` holds. A pure one is not looked at.

    Never fails: what keeps it from being tried is its answer. The build's time and memory are bounded apart from this.
    """
    if is_pure(wheel.tags):
        return Imported(ImportResult.NOT_NEEDED)
    bench.begin("importing", log)
    # A network's wheels and their environment: what doesn't fit into memory must not send the build itself round again.
    workshop = bench.workshop.all_on_disk()
    try:
        modules = modules_to_import(bench.delivery / wheel.filename)
        if not modules:
            return Imported(ImportResult.NOT_NEEDED, "it holds no module")
        workshop.area.mkdir(parents=True, exist_ok=True)
        with new_area(workshop.area / f"{bench.delivery.name.lstrip('.')}-importing") as area:
            return _try(_Trial(replace(bench, workshop=workshop), log, area, python), wheel, modules)
    except BuildEnded as ended:
        return Imported(ImportResult.UNTRIED, f"its requirements cannot be installed: {ended.reason}")
    except Exception as error:  # Whatever is wrong with this host, the wheel is well.
        return Imported(ImportResult.UNTRIED, f"{type(error).__name__}: {error}")


def _try(trial: _Trial, wheel: InspectedWheel, modules: tuple[str, ...]) -> Imported:
    uv, caches = trial.bench.workshop.uv, trial.bench.workshop.caches
    resolution = Resolver(uv, caches.resolutions, trial.area.own).resolve(_requirements(wheel), trial.python, trial.log)
    environments = Environments(caches.directory / "importing", uv, _MOST_KEPT, spare_bytes=caches.spare_bytes)
    with environments.holding(resolution, trial.python, trial.log) as environment:
        _install(trial, wheel)
        since = trial.log.size()
        ended = _run(trial, environment, modules)
    said = trial.log.text(since)
    return verdict(_answer(trial.area), ended, began=MARK in said)


def _requirements(wheel: InspectedWheel) -> tuple[str, ...]:
    """Those without an extra: uv leaves out what a marker asks an extra for. Raises BuildEnded for what may not be given to uv."""
    lines = BytesParser().parsebytes(wheel.metadata, headersonly=True).get_all("Requires-Dist") or []
    return check_requirements(list(map(str, lines)))


def _install(trial: _Trial, wheel: InspectedWheel) -> None:
    """Into a directory of its own, since environments are shared. Its cache goes with the area, and may be linked to."""
    since = trial.log.size()
    uv = replace(trial.bench.workshop.uv, cache=trial.area.own / "uv")
    how = ("--offline", "--no-deps", "--no-build", "--link-mode", "hardlink", "--python", os.fspath(trial.python.executable))
    file = os.fspath((trial.bench.delivery / wheel.filename).absolute())
    if uv.run("pip", "install", *how, "--target", os.fspath(trial.area.build / "site"), file, log=trial.log):
        raise uv_failure(trial.log.text(since))


def _run(trial: _Trial, environment: Environment, modules: tuple[str, ...]) -> Ended:
    """In the sandbox, or without where builds are without; bounded as a build is."""
    bench, area = trial.bench, trial.area
    limits, places, workshop = bench.limits, bench.places(area, environment), bench.workshop
    write_inside(area.driver)
    request = {"modules": modules, "build": str(places.build), "site": str(places.build / "site")}
    (area.driver / "imports.json").write_text(json.dumps(request), encoding="utf-8")
    (area.driver / "imports.json").chmod(0o644)
    (prepare if workshop.sandboxed else bare.prepare)(area, workshop.build_uid)
    watch = watch_for(limits, slot=workshop.slot, directories=[area.opened])
    with bare.swept(None if workshop.sandboxed else workshop.build_uid):
        return workshop.runner(
            _command(trial, environment, places),
            environment=variables(bench.leased.target, places=places),
            output=trial.log,
            seconds=workshop.build_seconds / _PART_OF_BUILD,
            output_bytes=limits.log_bytes,
            watch=watch,
        )


def _command(trial: _Trial, environment: Environment, places: Places) -> list[str]:
    bench, area = trial.bench, trial.area
    uid, pretended = bench.workshop.build_uid, personality(bench.leased.target)
    program = [os.fspath(places.environment / "bin/python"), "-u", "-S", os.fspath(places.driver / "imports.py")]
    if not bench.workshop.sandboxed:
        return bare.command(bare.Bare(places.build, uid, pretended, bench.limits), [*program, ADOPT])
    sandbox = Sandbox(
        bwrap=sandbox_program(uid),
        environment=environment.path,
        driver=area.driver,
        etc=area.etc,
        opened=opened_by(area),
        prefixes=trial.python.prefixes,
        uid=uid,
        personality=pretended,
        limits=bench.limits,
    )
    return command(sandbox, program)


def _answer(area: Area) -> Answer:
    """Never fails: a missing or odd result says nothing."""
    try:
        with open_left(area, "result.json") as file:
            fields: Any = json.loads(file.read(_LARGEST_ANSWER))
    except (OSError, ValueError, RecursionError):
        return Answer()
    return Answer.of(fields) if isinstance(fields, dict) else Answer()
