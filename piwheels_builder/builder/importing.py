"""A compiled wheel is installed beside its requirements, and its modules are imported, before anybody is offered it.

On the builder, since the index host has no interpreter of the target; in a sandbox of its own, since it is a stranger's code.
"""

import json
import os
from dataclasses import replace
from email.parser import BytesParser
from typing import Any

from piwheels_builder.builder.area import Area, open_left
from piwheels_builder.builder.attempt import Imported
from piwheels_builder.builder.build_system import check_requirements
from piwheels_builder.builder.enclosure import Enclosure, enclosure
from piwheels_builder.builder.ending import BuildEnded
from piwheels_builder.builder.environment import Environment
from piwheels_builder.builder.hooks import write_inside
from piwheels_builder.builder.inside.words import ADOPT, MARK
from piwheels_builder.builder.interpreter import Interpreter
from piwheels_builder.builder.log import BuildLog
from piwheels_builder.builder.making import Bench
from piwheels_builder.builder.modules import modules_to_import
from piwheels_builder.builder.process import Ended
from piwheels_builder.builder.resolution import uv_failure
from piwheels_builder.builder.verdict import Answer, verdict
from piwheels_builder.catalogue.filenames import is_pure
from piwheels_builder.states import ImportResult
from piwheels_builder.wheels import InspectedWheel

_LARGEST_ANSWER = 2**16


def try_import(bench: Bench, log: BuildLog, wheel: InspectedWheel, python: Interpreter) -> Imported:
    """Import what the wheel in ``bench.delivery`` holds. A pure one is not looked at.

    Never fails: what keeps it from being tried is its answer. The build's time and memory are bounded apart from this.
    """
    if is_pure(wheel.tags):
        return Imported(ImportResult.NOT_NEEDED)
    bench.begin("importing", log)
    try:
        modules = modules_to_import(bench.delivery / wheel.filename)
        if not modules:
            return Imported(ImportResult.NOT_NEEDED, "it holds no module")
        with enclosure(bench, log, python, "importing") as room:
            return _try(room, wheel, modules)
    except BuildEnded as ended:
        return Imported(ImportResult.UNTRIED, f"its requirements cannot be installed: {ended.reason}")
    except Exception as error:  # Whatever is wrong with this host, the wheel is well.
        return Imported(ImportResult.UNTRIED, f"{type(error).__name__}: {error}")


def _try(room: Enclosure, wheel: InspectedWheel, modules: tuple[str, ...]) -> Imported:
    with room.environment(_requirements(wheel)) as environment:
        _install(room, wheel)
        since = room.log.size()
        ended = _run(room, environment, modules)
    said = room.log.text(since)
    return verdict(_answer(room.area), ended, began=MARK in said)


def _requirements(wheel: InspectedWheel) -> tuple[str, ...]:
    """Those without an extra: uv leaves out what a marker asks an extra for. Raises BuildEnded for what may not be given to uv."""
    lines = BytesParser().parsebytes(wheel.metadata, headersonly=True).get_all("Requires-Dist") or []
    return check_requirements(list(map(str, lines)))


def _install(room: Enclosure, wheel: InspectedWheel) -> None:
    """Into a directory of its own, since environments are shared. Its cache goes with the area, and may be linked to."""
    since = room.log.size()
    uv = replace(room.bench.workshop.uv, cache=room.area.own / "uv")
    how = ("--offline", "--no-deps", "--no-build", "--link-mode", "hardlink", "--python", os.fspath(room.python.executable))
    file = os.fspath((room.bench.delivery / wheel.filename).absolute())
    if uv.run("pip", "install", *how, "--target", os.fspath(room.area.build / "site"), file, log=room.log):
        raise uv_failure(room.log.text(since))


def _run(room: Enclosure, environment: Environment, modules: tuple[str, ...]) -> Ended:
    places = room.places(environment)
    write_inside(room.area.driver)
    request = {"modules": modules, "build": str(places.build), "site": str(places.build / "site")}
    (room.area.driver / "imports.json").write_text(json.dumps(request), encoding="utf-8")
    (room.area.driver / "imports.json").chmod(0o644)
    adopt = [] if room.bench.workshop.sandboxed else [ADOPT]
    return room.run(
        environment, [os.fspath(places.environment / "bin/python"), "-u", "-S", os.fspath(places.driver / "imports.py"), *adopt]
    )


def _answer(area: Area) -> Answer:
    """Never fails: a missing or odd result says nothing."""
    try:
        with open_left(area, "result.json") as file:
            fields: Any = json.loads(file.read(_LARGEST_ANSWER))
    except (OSError, ValueError, RecursionError):
        return Answer()
    return Answer.of(fields) if isinstance(fields, dict) else Answer()
