"""What the queue's commands do, each given the options that command_line.py reads. They return exit codes."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict

from packaging.utils import canonicalize_version
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from piwheels_builder.catalogue.explain import explain
from piwheels_builder.catalogue.policy import Choice, Policy
from piwheels_builder.db.connect import connected
from piwheels_builder.errors import BadInput, BuildFailed, UnknownProject
from piwheels_builder.queue import breaker, trust
from piwheels_builder.queue.failure_commands import run_requeue_all
from piwheels_builder.queue.leasing import builder_loads, queue_totals
from piwheels_builder.queue.plan import BuilderLoad
from piwheels_builder.queue.progress import printable
from piwheels_builder.queue.report import BuildReport, builds_of, requeue
from piwheels_builder.settings import FleetSettings, load_fleet
from piwheels_builder.states import BuildState

#: Letters of an error that are shown.
_LONGEST = 1000
#: The state shown for what the catalogue does not have.
_UNKNOWN = "unknown"
#: What the totals are called where their names would not tell.
_WORDS = {"too_large": "need a larger builder"}
_STYLES = {_UNKNOWN: "red", "published": "green", "failed": "red", "skipped": "dim"}


def run_report(options: argparse.Namespace) -> int:
    settings = load_fleet()
    choices = _choices(settings, options.project)
    builds = _builds(settings, choices)
    absent = [row for choice in choices if not any(_is_of(build, choice) for build in builds) for row in _reasons(settings, choice)]
    if options.json:
        for row in [*builds, *absent]:
            print(json.dumps(asdict(row)))
    else:
        _print_builds([*builds, *absent])
    if any(row.state == _UNKNOWN for row in absent):
        return UnknownProject.exit_code
    return BuildFailed.exit_code if any(build.state == BuildState.FAILED for build in builds) else 0


def run_status(options: argparse.Namespace) -> int:
    with connected(load_fleet().conninfo("reader")) as connection:
        loads, totals, pause = builder_loads(connection), queue_totals(connection), breaker.fleet_pause(connection)
        incidents = trust.incidents(connection)
    if options.json:
        told = {"builders": [asdict(load) for load in loads], "queue": asdict(totals), "paused": pause and asdict(pause)}
        print(json.dumps({**told, "incidents": [asdict(incident) for incident in incidents]}))
        return 0
    if pause is not None:
        print(pause)
    _print_loads(loads)
    print(", ".join(f"{count} {_WORDS.get(what, what)}" for what, count in asdict(totals).items()))
    for line in [*(trust.quarantine_line(load) for load in loads if load.standing == "quarantined"), *incidents]:
        print(line)
    return 0


def _print_loads(loads: Sequence[BuilderLoad]) -> None:
    table = Table("builder", "standing", "slots", "spool", "wheels waiting", "logs waiting")
    for load in loads:
        spool = f"{load.spool_builds} builds, {load.spool_seconds / 60:.0f} min"
        waiting = (str(load.wheels_waiting), str(load.logs_waiting))
        table.add_row(load.name, escape(_standing(load)), str(load.slots), spool, *waiting)
    _print_whole(table)


def run_pause(options: argparse.Namespace) -> int:
    builder = _whom(options)
    with connected(load_fleet().conninfo("dispatcher")) as connection:
        builder_loads(connection, [builder] if builder else None)
        new = breaker.pause(connection, builder, options.reason)
    print(f"{builder or 'all dispatch'} is paused" if new else f"{builder or 'all dispatch'} is paused already, or not active")
    return 0


def run_resume(options: argparse.Namespace) -> int:
    builder = _whom(options)
    with connected(load_fleet().conninfo("dispatcher")) as connection:
        loads = builder_loads(connection, [builder] if builder else None)
        resumed = breaker.resume(connection, builder)
    print(f"{builder or 'all dispatch'} goes on" if resumed else f"{builder or 'all dispatch'} was not paused")
    for load in loads:
        if builder is None and load.standing in breaker.NOT_SERVED:
            print(f"{load.name} stays {load.standing} by itself: {load.standing_reason}")
    return 0


def _whom(options: argparse.Namespace) -> str | None:
    return None if options.all else options.builder


def _standing(load: BuilderLoad) -> str:
    reason = f": {load.standing_reason}" if load.standing_reason else ""
    trouble = [*([] if load.has_room else ["no room"]), *load.condition.trouble]
    return ", ".join([f"{load.standing}{reason}", *trouble])


def run_requeue(options: argparse.Namespace) -> int:
    if options.all:
        return run_requeue_all(options)
    if not options.project:
        raise BadInput("name projects, or say --all")
    if any((options.missing, options.toolchain, options.target, options.builder, options.text)):
        raise BadInput("of single projects only --outcome can be asked: the other options choose among --all")
    settings = load_fleet()
    builds = [build for build in _builds(settings, _choices(settings, options.project)) if options.outcome in (None, build.outcome)]
    with connected(settings.conninfo("dispatcher")) as connection:
        asked = requeue(connection, builds, options.reason)
    for build in asked:
        print(f"queued again: {build.project} {build.version} for {build.target}")
    if not asked:
        print("nothing to queue again: no such build is finished or parked")
    return 0


def _choices(settings: FleetSettings, wanted: Sequence[str]) -> list[Choice]:
    named = wanted or settings.projects
    if isinstance(named, str):
        raise BadInput("this fleet builds every project: name those to show")
    return [Choice.parse(name) for name in named]


def _builds(settings: FleetSettings, choices: Sequence[Choice]) -> list[BuildReport]:
    with connected(settings.conninfo("reader")) as connection:
        builds = builds_of(connection, sorted({choice.project for choice in choices}))
    return [build for build in builds if any(_is_of(build, choice) for choice in choices)]


def _is_of(build: BuildReport, choice: Choice) -> bool:
    return build.project == choice.project and choice.version in (None, canonicalize_version(build.version))


def _reasons(settings: FleetSettings, choice: Choice) -> list[BuildReport]:
    """Rows for what has no build: why, by the catalogue."""
    try:
        with connected(settings.conninfo("reader")) as connection:
            found = explain(connection, choice, Policy.of(settings))
    except UnknownProject as error:
        return [BuildReport(choice.project, choice.version or "", "", 0, _UNKNOWN, str(error), None, None, None, None)]
    return [BuildReport(why.project, why.version, why.target, 0, "not built", why.reason, None, None, None, None) for why in found]


def _print_builds(builds: Sequence[BuildReport]) -> None:
    table = Table("release", "target", "outcome", "seconds", "wheel, or why there is none")
    for build in builds:
        over = build.state in (BuildState.BUILT, BuildState.PUBLISHED, BuildState.FAILED)
        outcome = build.outcome if build.outcome and over else build.state
        seconds = "" if build.seconds is None else f"{build.seconds:.1f}"
        why = printable(build.wheel or build.error_line or build.reason, _LONGEST)
        table.add_row(
            f"{build.project} {build.version}", build.target, outcome, seconds, escape(why), style=_STYLES.get(build.state)
        )
    _print_whole(table)


def _print_whole(table: Table) -> None:
    """As wide as it is: one cut to a terminal's width would cut the wheel's name, which people copy."""
    console = Console()
    console.width = max(console.width, console.measure(table, options=console.options.update(max_width=10_000)).maximum)
    console.print(table)
