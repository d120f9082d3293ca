"""A host that follows the fleet's database: its server's files are a copy of the database's, and go on from there by its log.

A copy is a replica as long as the database keeps the log from where the copy began: its slot, which is made with the copy, says so.
Where that is gone (it was away for too long, or another server became the database) it is copied anew. Killed anywhere, it is no
replica yet, and the next run copies again. Who calls: the module database_replica, as root on the replica.
"""

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiosql
import psycopg2
from psycopg2.extensions import AsIs
from psycopg2.extras import PhysicalReplicationConnection

from piwheels_builder.db.connect import CONNECT_SECONDS, translated_errors
from piwheels_builder.errors import BadInput, DatabaseAway, DatabaseRefused, StorageFault

_commands = aiosql.from_path(Path(__file__).with_name("replica.sql"), "psycopg2")
#: A server that was stopped a moment ago may still hold its slot.
_SECONDS_TO_LET_GO = 20.0
#: Databases that every cluster has from the beginning.
_OWN_DATABASES = 3


@dataclass(frozen=True)
class Standby:
    """A server's files, and what they are to be a copy of."""

    data_dir: Path
    #: libpq connection string to the database, without a database's name, as the role piwheels_replica.
    primary: str
    #: The place in the database's log that is this replica's alone; made by replication.slot_of, since no command can quote it.
    slot: str
    #: PostgreSQL's programs, of the database's own version.
    programs: Path
    #: The server's user; None: whoever calls.
    run_as: str | None = None

    @property
    def _signal(self) -> Path:
        return self.data_dir / "standby.signal"


def follows(standby: Standby) -> bool:
    """Whether the files are a copy that can go on. Raises DatabaseAway, DatabaseRefused, where the database can't be asked."""
    with _replicating(standby) as connection:
        known, _, _, _ = _commands.identify_system(connection)
        kind, begins, _ = _commands.read_slot(connection, slot=AsIs(standby.slot))
    # A slot whose log is lost has no place any more.
    return standby._signal.exists() and kind == "physical" and begins is not None and _system_of(standby) == known


def copy(standby: Standby, stop: Callable[[], object]) -> None:
    """Replace the files by a copy of the database. ``stop`` stops the server that has them. The caller starts it again.

    Raises BadInput where they hold databases of somebody else's, StorageFault, DatabaseAway, DatabaseRefused.
    """
    _refuse_strangers(standby)
    stop()
    _let_go(standby)
    fresh = standby.data_dir.with_name(f"{standby.data_dir.name}.new")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        _base_backup(standby, fresh)
        (fresh / standby._signal.name).touch(0o600)
        if standby.run_as is not None:
            shutil.chown(fresh / standby._signal.name, standby.run_as, pwd.getpwnam(standby.run_as).pw_gid)
        shutil.rmtree(standby.data_dir, ignore_errors=True)
        fresh.rename(standby.data_dir)
    except OSError as error:
        raise StorageFault(f"{standby.data_dir} cannot be replaced: {error.strerror or error}") from error


def _refuse_strangers(standby: Standby) -> None:
    held = standby.data_dir / "base"
    databases = [path for path in held.iterdir() if path.name.isdigit()] if held.is_dir() else []
    if len(databases) > _OWN_DATABASES and not standby._signal.exists():
        raise BadInput(
            f"{standby.data_dir} holds databases and follows nobody: a replica replaces them. If nothing in it is wanted, drop the"
            " cluster and make a new one (pg_dropcluster, pg_createcluster); else make one beside it, and set fleet_database_port"
        )


@contextmanager
def _replicating(standby: Standby) -> Iterator[PhysicalReplicationConnection]:
    with (
        translated_errors(),
        closing(
            psycopg2.connect(standby.primary, connection_factory=PhysicalReplicationConnection, connect_timeout=CONNECT_SECONDS)
        ) as connection,
    ):
        yield connection


def _let_go(standby: Standby) -> None:
    """Drop the slot, which would keep a log that nobody needs any more. Raises DatabaseRefused while another server holds it."""
    until = time.monotonic() + _SECONDS_TO_LET_GO
    with _replicating(standby) as connection:
        while _commands.read_slot(connection, slot=AsIs(standby.slot))[0] is not None:
            try:
                _commands.drop_slot(connection, slot=AsIs(standby.slot))
            except psycopg2.errors.ObjectInUse as error:
                if time.monotonic() > until:
                    raise DatabaseRefused(f"another server follows the database as {standby.slot}: switch it off") from error
                time.sleep(0.2)


def _base_backup(standby: Standby, fresh: Path) -> None:
    command = [str(standby.programs / "pg_basebackup"), "--pgdata", str(fresh), "--dbname", standby.primary, "--no-password"]
    slot = ["--create-slot", "--slot", standby.slot, "--wal-method=stream", "--checkpoint=fast"]
    done = subprocess.run([*command, *slot], capture_output=True, text=True, check=False, cwd="/", **_as(standby))
    if done.returncode:
        raise DatabaseAway(f"the database cannot be copied: {done.stderr.strip()[-1000:]}")


def _as(standby: Standby) -> dict[str, Any]:
    if standby.run_as is None or os.geteuid() != 0:
        return {}
    return {"user": standby.run_as, "group": pwd.getpwnam(standby.run_as).pw_gid, "extra_groups": []}


def _system_of(standby: Standby) -> str:
    """The number that a cluster and all its copies have."""
    command = [standby.programs / "pg_controldata", standby.data_dir]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"LC_ALL": "C"})
    lines = dict(line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)
    return lines.get("Database system identifier", "").strip()
