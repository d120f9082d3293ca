"""The command ``statistics``."""

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from piwheels_builder.db.connect import connected
from piwheels_builder.queue.statistics import Statistic, statistics
from piwheels_builder.settings import load_fleet


def run_statistics(options: argparse.Namespace) -> int:
    with connected(load_fleet().conninfo("reader")) as connection:
        found = statistics(connection)
    if options.json:
        for statistic in found:
            print(json.dumps(asdict(statistic)))
    else:
        _print(found)
    return 0


def _print(found: Sequence[Statistic]) -> None:
    whole: defaultdict[str, list[Statistic]] = defaultdict(list)
    for statistic in found:
        whole[statistic.what].append(statistic)
    table = Table("what", "number", "amount")
    for what, parts in whole.items():
        amount = sum(part.amount for part in parts)
        table.add_row(what, f"{sum(part.number for part in parts):,}", _amount(what, amount))
    Console().print(table)


def _amount(what: str, amount: float) -> str:
    if what.startswith("wheel "):
        return f"{amount / 1e9:,.1f} GB"
    return f"{amount / 3600:,.1f} h" if what.startswith(("queue ", "attempt ")) else ""
