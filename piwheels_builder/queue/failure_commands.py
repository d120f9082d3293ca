"""The commands on failures in bulk: ``failures`` and ``requeue --all``."""

import argparse
import json
import sys
from dataclasses import asdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from piwheels_builder.db.connect import connected
from piwheels_builder.errors import BadInput
from piwheels_builder.queue.failures import FailureGroup, Kind, count_failures, failure_groups, requeue_failures
from piwheels_builder.queue.progress import printable
from piwheels_builder.settings import load_fleet

#: Letters of a word that are shown.
_LONGEST = 1000
#: More than so many builds are queued again only after a yes.
MANY = 1000


def run_failures(options: argparse.Namespace) -> int:
    with connected(load_fleet().conninfo("reader")) as connection:
        groups = failure_groups(connection, _kind(options), options.by)
    if options.json:
        for group in groups:
            print(json.dumps(asdict(group)))
    elif groups:
        _print_groups(groups, options.by)
    else:
        print("nothing has failed so")
    return 0


def run_requeue_all(options: argparse.Namespace) -> int:
    if options.project:
        raise BadInput("--all is of whatever project: name projects, or say --all")
    kind = _kind(options)
    with connected(load_fleet().conninfo("dispatcher")) as connection:
        number = count_failures(connection, kind)
        if options.dry_run or not number:
            print(f"{number} builds would be queued again")
        elif number <= MANY or options.yes or _agrees(number):
            print(f"{requeue_failures(connection, kind, options.reason)} builds are queued again")
    return 0


def _kind(options: argparse.Namespace) -> Kind:
    names = ("outcome", "missing", "toolchain", "target", "builder", "text")
    return Kind.of(**{name: getattr(options, name) for name in names})


def _agrees(number: int) -> bool:
    if not sys.stdin.isatty():
        raise BadInput(f"{number} builds would be queued again: say --yes if they shall be")
    return input(f"queue {number} builds again? [y/N] ").strip().lower() in {"y", "yes"}


def _print_groups(groups: list[FailureGroup], part: str | None) -> None:
    table = Table("builds", "projects", "outcome", "missing", *([part] if part else []), "latest", "its error")
    for group in groups:
        divided = [group.toolchain] if part else []
        # Most of it is what a stranger's build said.
        words = (group.outcome, group.missing, *divided, group.example, group.error_line)
        table.add_row(str(group.builds), str(group.projects), *(escape(printable(word or "", _LONGEST)) for word in words))
    # As wide as it is: what is missing gets copied into a package search.
    console = Console()
    console.width = max(console.width, console.measure(table, options=console.options.update(max_width=10_000)).maximum)
    console.print(table)
