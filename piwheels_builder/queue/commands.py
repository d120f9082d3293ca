"""Commands on the queue: ``report``, ``status`` and ``requeue``."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from packaging.utils import canonicalize_name, canonicalize_version
from rich.console import Console
from rich.table import Table

from piwheels_builder.db.connect import connected
from piwheels_builder.errors import BadInput, BuildFailed
from piwheels_builder.queue.leasing import builder_loads, queue_totals
from piwheels_builder.queue.report import BuildReport, builds_of, requeue
from piwheels_builder.settings import FleetSettings, load_fleet

_STYLES = {"published": "green", "failed": "red", "skipped": "dim"}


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
    """A table of builds: release, target, outcome, seconds, wheel. Exit code 2 if one of them has failed."""
    builds = _chosen(load_fleet(), options.project)
    if options.json:
        for build in builds:
            print(json.dumps(asdict(build)))
    else:
        _print_builds(builds)
    return BuildFailed.exit_code if any(build.state == "failed" for build in builds) else 0


def _status(options: argparse.Namespace) -> int:
    """Every builder with its spool and outbox, and the unfinished builds by what holds them up."""
    with connected(load_fleet().database["reader"]) as connection:
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
    builds = [build for build in _chosen(settings, options.project) if options.outcome in (None, build.outcome)]
    with connected(settings.database["dispatcher"]) as connection:
        asked = requeue(connection, builds, options.reason)
    for build in asked:
        print(f"queued again: {build.project} {build.version} for {build.target}")
    if not asked:
        print("nothing to queue again: no such build is finished or parked")
    return 0


def _chosen(settings: FleetSettings, wanted: Sequence[str]) -> list[BuildReport]:
    named = wanted or settings.projects
    if isinstance(named, str):
        raise BadInput("this fleet builds every project: name those to show")
    versions: dict[Any, str | None] = {}
    for name in named:
        project, _, version = name.partition("==")
        versions[canonicalize_name(project)] = canonicalize_version(version) if version else None
    with connected(settings.database["reader"]) as connection:
        builds = builds_of(connection, list(versions))
    return [build for build in builds if versions[build.project] in (None, canonicalize_version(build.version))]


def _print_builds(builds: Sequence[BuildReport]) -> None:
    table = Table("release", "target", "outcome", "seconds", "wheel, or why there is none")
    for build in builds:
        outcome = build.outcome if build.outcome and build.state not in ("pending", "leased", "skipped") else build.state
        seconds = "" if build.seconds is None else f"{build.seconds:.1f}"
        why = build.wheel or build.error_line or build.reason
        table.add_row(f"{build.project} {build.version}", build.target, outcome, seconds, why, style=_STYLES.get(build.state))
    _print_whole(table)


def _print_whole(table: Table) -> None:
    """As wide as it is: one cut to a terminal's width would cut the wheel's name, which people copy."""
    console = Console()
    console.width = max(console.width, console.measure(table, options=console.options.update(max_width=10_000)).maximum)
    console.print(table)
