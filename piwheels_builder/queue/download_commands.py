"""The command ``downloads``: count them from the index's access logs, and show them."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from packaging.utils import canonicalize_name
from rich.console import Console
from rich.table import Table

from piwheels_builder.db.connect import connected
from piwheels_builder.errors import BadInput, UnknownProject
from piwheels_builder.queue.downloads import Download, Popular, count_logs, downloads_of, most_downloaded, project_ids
from piwheels_builder.settings import load_fleet


def run_downloads_count(options: argparse.Namespace) -> int:
    directory = Path(options.log_dir)
    if not directory.is_dir():
        raise BadInput(f"{directory} is no directory: name the one with the index's access.log by --log-dir")
    with connected(load_fleet().conninfo("dispatcher")) as connection:
        lines = count_logs(connection, directory)
    print(f"{lines} new lines of {directory}/access.log* are counted")
    return 0


def run_downloads_show(options: argparse.Namespace) -> int:
    since = datetime.now(UTC).date() - timedelta(days=options.days)
    shown: Sequence[Download | Popular]
    with connected(load_fleet().conninfo("reader")) as connection:
        if options.project:
            ids = project_ids(connection, [canonicalize_name(name) for name in options.project])
            _check(options.project, ids)
            shown = downloads_of(connection, list(ids.values()), since)
        else:
            shown = most_downloaded(connection, since, options.most)
    if options.json:
        for each in shown:
            print(json.dumps(asdict(each), default=str))
    elif shown:
        _print(shown)
    else:
        print(f"nothing was downloaded since {since}, as far as `piwheels-builder downloads count` has counted")
    return 0


def _check(names: Sequence[str], known: dict[str, int]) -> None:
    for name in names:
        if canonicalize_name(name) not in known:
            raise UnknownProject(f"{name} is not in the catalogue: `piwheels-builder sync {name}` reads it")


def _print(shown: Sequence[Download | Popular]) -> None:
    by_wheel = isinstance(shown[0], Download)
    table = Table(*(("day", "wheel") if by_wheel else ("project",)), "downloads", "again", "bots")
    for each in shown:
        what: tuple[date | str, ...] = (each.day, each.filename) if isinstance(each, Download) else (each.project,)
        table.add_row(*map(str, what), f"{each.number:,}", f"{each.repeated:,}", f"{each.bots:,}")
    Console().print(table)
