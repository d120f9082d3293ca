"""The command ``demand``: add, list and drop what users asked for and could not get."""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table

from piwheels_builder.catalogue.explain import explain
from piwheels_builder.catalogue.policy import Choice, Policy
from piwheels_builder.db.connect import connected
from piwheels_builder.errors import BadInput
from piwheels_builder.queue.access_log import asked_in_vain
from piwheels_builder.queue.demand import demands, drop_demand, note_asked, note_demand
from piwheels_builder.settings import FleetSettings, load_fleet


def run_demand_add(options: argparse.Namespace) -> int:
    if bool(options.choice) == bool(options.from_access_log):
        raise BadInput("name releases, or say --from-access-log FILE")
    settings = load_fleet()
    if options.from_access_log:
        return _add_from_log(settings, options.from_access_log, options.most)
    for choice in map(Choice.parse, options.choice):
        _add(settings, choice)
    return 0


def run_demand_list(options: argparse.Namespace) -> int:
    with connected(load_fleet().conninfo("reader")) as connection:
        found = demands(connection)
    if options.json:
        for demand in found:
            print(json.dumps(asdict(demand), default=str))
    elif found:
        table = Table("release", "asked for", "last", "queued")
        for demand in found:
            last = f"{demand.asked_last_at:%Y-%m-%d}"
            table.add_row(f"{demand.project} {demand.version or '(newest)'}", str(demand.asked), last, str(demand.queued))
        Console().print(table)
    else:
        print("nobody waits for anything")
    return 0


def run_demand_drop(options: argparse.Namespace) -> int:
    with connected(load_fleet().conninfo("dispatcher")) as connection:
        for choice in map(Choice.parse, options.choice):
            dropped = drop_demand(connection, choice)
            print(f"{choice}: " + ("nobody waits for it any more" if dropped else "nobody waited for it"))
    return 0


def _add(settings: FleetSettings, choice: Choice) -> None:
    with connected(settings.conninfo("dispatcher")) as connection:
        hastened = note_demand(connection, choice)
    if hastened:
        print(f"{choice}: {hastened} builds go first")
        return
    print(f"{choice}: noted; no build of it is queued behind others")
    with connected(settings.conninfo("reader")) as connection:
        for why in explain(connection, choice, Policy.of(settings)):
            print(f"  {why.version} for {why.target}: {why.state or ('wanted' if why.wanted else f'not wanted: {why.reason}')}")


def _add_from_log(settings: FleetSettings, name: str, most: int) -> int:
    with _opened(name) as lines:
        asked = asked_in_vain(lines, most)
    with connected(settings.conninfo("dispatcher")) as connection:
        noted = note_asked(connection, asked)
    print(
        f"{len(asked)} projects were asked for in vain, {len(noted)} of them are in the catalogue; "
        f"{sum(noted.values())} builds go first that did not"
    )
    return 0


@contextmanager
def _opened(name: str) -> Iterator[TextIO]:
    if name == "-":
        yield sys.stdin
        return
    try:
        # Requests may hold any bytes.
        with Path(name).open(encoding="utf-8", errors="replace") as lines:
            yield lines
    except OSError as error:
        raise BadInput(f"{name} cannot be read ({error.strerror}): name an access log of the index, or -") from error
