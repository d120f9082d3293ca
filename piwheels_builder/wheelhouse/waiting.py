"""Waits until the fleet has built what a wheelhouse lacks, asking again as each build tells what it requires itself."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from piwheels_builder.errors import BuildFailed, UpstreamError
from piwheels_builder.queue.progress import printable
from piwheels_builder.settings import FleetSettings
from piwheels_builder.states import BuildState
from piwheels_builder.targets import Target
from piwheels_builder.wheelhouse.resolving import Pick, Unsolvable
from piwheels_builder.wheelhouse.wanting import Standing, check_target, standings, want

#: Seconds between two looks, and how long a published wheel may take to stand on its page.
LOOK_EVERY = 5.0
PAGE_WITHIN = 120.0


def want_all(
    settings: FleetSettings,
    target: Target,
    missing: Callable[[Mapping[Pick, str]], Sequence[Pick]],
    *,
    wait: bool,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Want what ``missing`` says, given what cannot be built and why. Returns the exit code. Raises BuildFailed."""
    check_target(settings, target)
    unbuildable: dict[Pick, str] = {}
    served = 0.0
    while True:
        picks = _still_missing(missing, unbuildable)
        if not picks:
            print(f"all that is needed has a wheel for {target}")
            return 0
        want(settings, picks)
        found = standings(settings, picks, target)
        failed = [each for each in found if each.is_over and each.state is not BuildState.PUBLISHED]
        for each in failed:
            print(printable(str(each)))
            unbuildable[each.pick] = printable(each.why)
        if failed:
            continue
        if not wait:
            print("\n".join(map(str, found)))
            return 0
        if all(each.is_over for each in found):
            if served > PAGE_WITHIN:
                raise UpstreamError(f"built, and not on the index: {', '.join(map(str, picks))}: does --index name the fleet's?")
            served += LOOK_EVERY
            pause(LOOK_EVERY)
        else:
            served = 0.0
            _wait(settings, picks, target, pause)


def _still_missing(missing: Callable[[Mapping[Pick, str]], Sequence[Pick]], unbuildable: Mapping[Pick, str]) -> Sequence[Pick]:
    try:
        return missing(unbuildable)
    except Unsolvable as error:
        if not unbuildable:
            raise
        failures = "".join(f"\n  {pick}: {why}" for pick, why in unbuildable.items())
        raise BuildFailed(f"could not be built:{failures}\nand nothing else will do: {error}") from error


def _wait(settings: FleetSettings, picks: Sequence[Pick], target: Target, pause: Callable[[float], None]) -> None:
    """Until none of them is under way."""
    states: dict[Pick, BuildState | None] = {}
    with _progress(len(picks)) as show:
        while True:
            found = standings(settings, picks, target)
            for each in found:
                if states.get(each.pick) != each.state:
                    print(printable(str(each)))
                states[each.pick] = each.state
            show(found)
            if all(each.is_over for each in found):
                return
            pause(LOOK_EVERY)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Sequence[Standing]], None]]:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        shown = progress.add_task("built", total=total)
        yield lambda found: progress.update(shown, completed=sum(each.is_over for each in found))
