"""Commands on the queue: ``report``, ``status`` and ``requeue``."""

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
from piwheels_builder.queue.leasing import builder_loads, queue_totals
from piwheels_builder.queue.report import BuildReport, builds_of, requeue
from piwheels_builder.settings import FleetSettings, load_fleet
from piwheels_builder.states import BuildState

#: The state shown for what the catalogue does not have.
_UNKNOWN = "unknown"
_STYLES = {_UNKNOWN: "red", "published": "green", "failed": "red", "skipped": "dim"}


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register this room's commands."""
    report = commands.add_parser("report", help="what became of builds", description=_report.__doc__)
    report.add_argument("project", nargs="*", metavar="PROJECT[==VERSION]", help="default: the projects the fleet is told to build")
    report.add_argument("--json", action="store_true", help="one object a line")
    report.set_defaults(run=_report)

    status = commands.add_parser("status", help="builders, and what is unfinished", description=_status.__doc__)
    status.add_argument("--json", action="store_true", help="one object")
    status.set_defaults(run=_status)

    again = commands.add_parser("requeue", help="build again what is finished or parked", description=_requeue.__doc__)
    again.add_argument("project", nargs="+", metavar="PROJECT[==VERSION]")
    again.add_argument("--outcome", help="only builds whose last attempt ended so, for example missing_header")
    again.add_argument("--reason", default="rebuild asked by the operator", help="it stands with each build (default: %(default)s)")
    again.set_defaults(run=_requeue)


def _report(options: argparse.Namespace) -> int:
    """A table of builds: release, target, outcome, seconds, wheel; and what was asked for without a build, with the reason.

    Exit code 2 if a build has failed, 66 if something asked for is not in the catalogue.
    """
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


def _status(options: argparse.Namespace) -> int:
    """Every builder with its spool and outbox, and the unfinished builds by what holds them up."""
    with connected(load_fleet().conninfo("reader")) as connection:
        loads, totals = builder_loads(connection), queue_totals(connection)
    if options.json:
        print(json.dumps({"builders": [asdict(load) for load in loads], "queue": asdict(totals)}))
        return 0
    table = Table("builder", "standing", "slots", "spool", "wheels waiting")
    for load in loads:
        spool = f"{load.spool_builds} builds, {load.spool_seconds / 60:.0f} min"
        table.add_row(load.name, load.standing, str(load.slots), spool, str(load.wheels_waiting))
    _print_whole(table)
    print(", ".join(f"{count} {what}" for what, count in asdict(totals).items()))
    return 0


def _requeue(options: argparse.Namespace) -> int:
    """Build again what has failed, is published, skipped or parked. Unfinished builds stay as they are."""
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
        why = build.wheel or build.error_line or build.reason
        table.add_row(
            f"{build.project} {build.version}", build.target, outcome, seconds, escape(why), style=_STYLES.get(build.state)
        )
    _print_whole(table)


def _print_whole(table: Table) -> None:
    """As wide as it is: one cut to a terminal's width would cut the wheel's name, which people copy."""
    console = Console()
    console.width = max(console.width, console.measure(table, options=console.options.update(max_width=10_000)).maximum)
    console.print(table)
