"""What the index's commands do, each given the options that command_line.py reads. They return exit codes."""

import argparse
import json
import sys

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from piwheels_builder.db.connect import connected
from piwheels_builder.errors import StorageFault
from piwheels_builder.index.tiers import Report, Use, move_wheels
from piwheels_builder.settings import load_fleet


def run_move_wheels(options: argparse.Namespace) -> int:
    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} wheels looked at"), TimeElapsedColumn())
    progress = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
    with connected(load_fleet().conninfo("reader")) as connection, progress:
        line = progress.add_task("", total=None)
        report = move_wheels(
            connection,
            options.published,
            options.cold,
            days=options.days,
            releases=options.releases,
            check=options.check,
            step=lambda step: progress.advance(line, step == "handled"),
        )
    if options.json:
        print(json.dumps(_as_json(report)))
    else:
        _print(report, "would move" if options.check else "moved")
    return StorageFault.exit_code if report.damaged or report.no_room.files else 0


def _as_json(report: Report) -> dict[str, object]:
    return {
        "tiers": {str(directory): vars(use) for directory, use in report.tiers.items()},
        "moved": vars(report.moved),
        "no_room": vars(report.no_room),
        "damaged": report.damaged,
    }


def _print(report: Report, verb: str) -> None:
    table = Table("directory", "wheels", "MB")
    for directory, use in report.tiers.items():
        table.add_row(str(directory), f"{use.files:,}", _mb(use))
    Console().print(table)
    print(f"{verb}: {report.moved.files:,} wheels, {_mb(report.moved)} MB")
    if report.no_room.files:
        print(f"no room for {report.no_room.files:,} wheels, {_mb(report.no_room)} MB: name another cold disk as well")
    for filename in report.damaged:
        print(f"{filename} is not there, or has other bytes than were published: bring it back from a backup")


def _mb(use: Use) -> str:
    return f"{use.size / 2**20:,.0f}"
