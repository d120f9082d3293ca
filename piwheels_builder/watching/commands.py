"""The command ``watch``."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from piwheels_builder.db.connect import connected
from piwheels_builder.errors import BadInput
from piwheels_builder.settings import configuration_dir, load_fleet
from piwheels_builder.watching.reach import places
from piwheels_builder.watching.sight import COLUMNS, Watched, sight


def run_watch(options: argparse.Namespace) -> int:
    if not 0 < options.seconds < float("inf"):
        raise BadInput("--seconds is a time between two looks: more than 0")
    conninfo = load_fleet().conninfo("reader")
    # Before the screen is taken: a database that is away is an exit code, not an empty screen.
    with connected(conninfo) as connection:
        found = sight(connection)
    if options.once or not _is_terminal():
        _print(found)
        return 0
    # Not imported for a table: it takes longer than the table.
    terminal = importlib.import_module("piwheels_builder.watching.terminal")
    return int(terminal.watch(conninfo, options.seconds, places(configuration_dir())))


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _print(found: Sequence[Watched]) -> None:
    table = Table(*COLUMNS)
    for each in found:
        table.add_row(*map(Text, each.cells))
    console = Console()
    # Not cut to a width that whoever reads from a pipe does not have.
    console.width = max(console.width, console.measure(table, options=console.options.update(max_width=10_000)).maximum)
    console.print(table)
