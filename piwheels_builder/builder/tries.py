"""How often a build is tried within one attempt: in memory, else on the disk; with today's build tools, else with older ones.

Each try has an area of its own, as new, and all the time that a build has: what a try before it took is not the release's fault.
"""

import errno
from collections.abc import Callable, Collection

from piwheels_builder.builder.area import Area, new_area
from piwheels_builder.builder.ending import BuildEnded
from piwheels_builder.builder.log import BuildLog
from piwheels_builder.builder.making import Bench
from piwheels_builder.builder.older_tools import day_of_older_tools, telling
from piwheels_builder.states import Outcome
from piwheels_builder.wheels import InspectedWheel

#: One try, in an area. Raises BuildEnded, OSError.
Once = Callable[[Bench, BuildLog, Area], InspectedWheel]

#: Memory that files take is the build's memory too, to a control group and to the machine.
_TOO_LARGE = {Outcome.DISK_LIMIT, Outcome.DISK_FULL, Outcome.OUT_OF_MEMORY}
#: ENOENT: the tmpfs was cleared, or mounted anew.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.ENOENT}


def try_until_it_fits(bench: Bench, log: BuildLog, name: str, once: Once) -> InspectedWheel:
    """In memory, and on the disk what is too large for that. ``name`` is the area's. Raises BuildEnded, OSError."""
    if bench.workshop.keeps_in_memory:
        try:
            if bench.workshop.in_memory is None:
                bench.workshop.area.mkdir(parents=True, exist_ok=True)
            return _try_tools(bench, log, name, once)
        except (BuildEnded, OSError) as error:
            if not _is_too_large(error, _TOO_LARGE if bench.workshop.in_memory else {Outcome.DISK_FULL}):
                raise
            log.note(f"again, on the disk: {error}")
        bench.workshop = bench.workshop.all_on_disk()
    bench.workshop.area.mkdir(parents=True, exist_ok=True)
    return _try_tools(bench, log, name, once)


def _is_too_large(error: BuildEnded | OSError, outcomes: Collection[Outcome]) -> bool:
    return error.outcome in outcomes if isinstance(error, BuildEnded) else error.errno in _NO_ROOM


def _try_tools(bench: Bench, log: BuildLog, name: str, once: Once) -> InspectedWheel:
    """With today's build tools, else with older ones if they may do."""
    try:
        return _try(bench, log, name, once)
    except BuildEnded as today:
        first = bench.learned
        bench.tools_as_of = day_of_older_tools(today, bench.leased.sdist.upload_time, bench.leased.target)
        if bench.tools_as_of is None:
            raise
        log.note(f"{today.outcome}: {today.reason}")
        log.note(f"again, with build tools from before {bench.tools_as_of}")
        try:
            return _try(bench, log, name, once)
        except BuildEnded as then:
            told = telling(today, then)
            if told is today:
                bench.learned = first
            raise told from then
        finally:
            bench.tools_as_of = None


def _try(bench: Bench, log: BuildLog, name: str, once: Once) -> InspectedWheel:
    bench.seconds_inside = 0.0
    with new_area(bench.workshop.area / name) as area:
        return once(bench, log, area)
