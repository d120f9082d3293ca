"""What the database's commands do, each given the options that command_line.py reads. They return exit codes."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import aiosql

from piwheels_builder.db.connect import connected
from piwheels_builder.db.move import load_copy, write_copy
from piwheels_builder.db.replication import replicas
from piwheels_builder.errors import BadInput, DatabaseAway
from piwheels_builder.host_keys.known_hosts import HostKey, known_as
from piwheels_builder.settings import load_fleet

_queries = aiosql.from_path(Path(__file__).with_name("commands.sql"), "psycopg2")


def run_copy(options: argparse.Namespace) -> int:
    manifest = write_copy(load_fleet().conninfo("owner"), options.directory, _say)
    print(f"copied {sum(table.rows for table in manifest.tables):,} rows into {options.directory}")
    return 0


def run_load(options: argparse.Namespace) -> int:
    fresh = load_copy(load_fleet().conninfo("owner"), options.directory, _say, check=options.check)
    if options.check:
        print("the copy can be loaded here" if fresh else "the copy was loaded here before")
    else:
        print(
            "loaded; provision the builders, so that they are registered here" if fresh else "nothing to do: it was loaded before"
        )
    return 0


def run_known_hosts(_options: argparse.Namespace) -> int:
    with connected(load_fleet().conninfo("reader")) as connection:
        for name, address, keys in _queries.host_keys(connection):
            for key in keys:
                _print_key(name, address, key)
    return 0


def run_replicas(options: argparse.Namespace) -> int:
    settings = load_fleet()
    # Not the reader's connection, which may lead to a replica.
    with connected(settings.conninfo("dispatcher")) as connection:
        found = replicas(connection, settings.replicas)
    for replica in found:
        print(json.dumps(asdict(replica)) if options.json else f"{replica.name}: {replica.state}, {replica.behind}")
    if not found and not options.json:
        print("the inventory has no group database_replicas: nothing follows the database")
    troubles = [told for replica in found if (told := replica.trouble(options.most_mb * 2**20, options.most_seconds))]
    for trouble in troubles:
        print(trouble, file=sys.stderr)
    return DatabaseAway.exit_code if troubles else 0


def _print_key(name: str, address: str, key: str) -> None:
    try:
        # An address with a port is stored as known_hosts writes it.
        print(known_as(address, 22), HostKey.parse(key))
    except BadInput as error:
        # Builders tell their keys themselves, and one of them may have been taken over.
        print(f"of {name}: {error}", file=sys.stderr)


def _say(line: str) -> None:
    print(line, flush=True)
