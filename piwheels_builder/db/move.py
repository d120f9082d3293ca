"""Move a fleet's memory to another PostgreSQL: its rows into files, and the files into a database of the same schema.

Rows, not a dump: what an older PostgreSQL is given was made by its own migrations, so it never meets a newer one's words. The old
database is only read. The new one takes everything in one transaction, or nothing; the same copy a second time changes nothing.

    copy/<table>.gz     its rows as COPY writes them, gzipped
    copy/manifest.json  which tables, how many rows, their sha256; written last
"""

import gzip
import hashlib
import json
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import aiosql
from psycopg2.sql import SQL, Composed, Identifier

from piwheels_builder.db.connect import Connection, connected
from piwheels_builder.errors import BadInput, DatabaseRefused, StorageFault

_queries = aiosql.from_path(Path(__file__).with_name("move.sql"), "psycopg2")
_MANIFEST = "manifest.json"
_WHY = "its builder stayed behind when the fleet moved"
_RETIRED = "did not come along when the fleet moved: provision it to have it build again"

Told = Callable[[str], object]


@dataclass(frozen=True)
class Table:
    """A table's rows in a copy. ``columns`` are quoted where SQL wants it; ``sha256`` is of the rows, uncompressed."""

    name: str
    columns: list[str]
    rows: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a copy holds: the migrations of its schema (name and sha256), its tables, and how far sequences were."""

    migrations: dict[str, str]
    tables: list[Table]
    sequences: dict[str, int]

    @property
    def id(self) -> str:
        """The same for the same rows: a copy of a fleet that stood still is the same copy."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def write_copy(conninfo: str, directory: Path, told: Told) -> Manifest:
    """Copy all rows of a database, as of one moment, into a directory. ``told`` gets a line for each table.

    An earlier copy there is replaced. ``conninfo`` is the owner's. Raises DatabaseRefused while wheels or logs wait to be
    published, BadInput for a directory that holds anything else, StorageFault.
    """
    with connected(conninfo) as connection, _storage(directory):
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        connection.set_client_encoding("UTF8")
        _refuse_what_waits(connection)
        names = list(_queries.tables(connection))
        _clear(directory, {name for name, _ in names})
        directory.mkdir(parents=True, mode=0o700)
        tables = [_write_table(connection, directory, name, columns, told) for name, columns in names]
        manifest = Manifest(dict(_queries.migrations(connection)), tables, dict(_queries.sequences(connection)))
        fresh = directory / f".{_MANIFEST}"
        fresh.write_text(json.dumps(asdict(manifest), indent=1))
        fresh.rename(directory / _MANIFEST)
    return manifest


def load_copy(conninfo: str, directory: Path, told: Told, *, check: bool = False) -> bool:
    """Fill a migrated database without builds from a copy, in one transaction. Returns whether it was not yet there.

    Leases are given back and builders retired, since both stay behind; one that is quarantined stays so. With ``check``, only says
    whether it could be done.
    Raises DatabaseRefused where the schema is another, or the database has builds of its own; BadInput for a damaged copy.
    """
    manifest = read_manifest(directory)
    with _storage(directory):
        _verify(directory, manifest)
    with connected(conninfo) as connection, _storage(directory):
        connection.set_client_encoding("UTF8")
        _refuse_another_schema(connection, manifest)
        _queries.hold_still(connection)
        if _queries.moved_here(connection) == manifest.id:
            return False
        if _queries.has_builds(connection):
            raise DatabaseRefused(
                "the database here has builds already, of another fleet or of an earlier state of this one: a fleet moves into an "
                "empty one (drop this one and run `ansible-playbook provision.yml`, if nothing in it is wanted)"
            )
        if not check:
            _fill(connection, directory, manifest, told)
    return True


def read_manifest(directory: Path) -> Manifest:
    """Raises BadInput where the directory holds no whole copy."""
    try:
        fields: dict[str, Any] = json.loads((directory / _MANIFEST).read_text())
        return Manifest(**{**fields, "tables": [Table(**table) for table in fields["tables"]]})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadInput(f"{directory} holds no whole copy of a database: run `piwheels-builder copy-database` again") from error


def _refuse_what_waits(connection: Connection) -> None:
    wheels, logs = _queries.waiting(connection)
    if wheels or logs:
        raise DatabaseRefused(
            f"{wheels} wheels and {logs} logs wait on builders and would stay behind: publish them first (ansible-playbook "
            "playbooks/publish.yml); of a quarantined builder, say resume or distrust before"
        )


def _clear(directory: Path, tables: set[str]) -> None:
    """Remove an earlier copy, whole or not, and nothing that is none."""
    ours = {_MANIFEST, f".{_MANIFEST}", *(f"{table}.gz" for table in tables)}
    found = list(directory.iterdir()) if directory.exists() else []
    strange = sorted(path.name for path in found if path.name not in ours or not path.is_file())
    if strange:
        raise BadInput(
            f"{directory} holds {strange[0]}, which is no part of a copy: name a directory that is new, or an earlier copy"
        )
    shutil.rmtree(directory, ignore_errors=True)


def _refuse_another_schema(connection: Connection, manifest: Manifest) -> None:
    here = dict(_queries.migrations(connection))
    other = sorted(name for name in here.keys() | manifest.migrations.keys() if here.get(name) != manifest.migrations.get(name))
    if other:
        raise DatabaseRefused(
            f"the copy and the database here differ in {', '.join(other)}: provision both fleets from one version of this"
        )


def _fill(connection: Connection, directory: Path, manifest: Manifest, told: Told) -> None:
    _execute(connection, _queries.emptying(connection))
    _switch_triggers(connection, "DISABLE")
    for table in _in_order(connection, manifest):
        _load_table(connection, directory, table)
        told(f"{table.name}: {table.rows:,} rows")
    for sequence, value in manifest.sequences.items():
        _queries.go_on_counting(connection, sequence=sequence, value=value)
    _switch_triggers(connection, "ENABLE")
    _queries.give_back_leases(connection, why=_WHY)
    _queries.retire_builders(connection, why=_RETIRED)
    _execute(connection, _queries.say_moved_here(connection, copy=manifest.id))


def _in_order(connection: Connection, manifest: Manifest) -> Iterator[Table]:
    """A table after those whose rows it names."""
    tables = {table.name: table for table in manifest.tables}
    order: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(tables, ()))
    for from_table, to_table in _queries.references(connection):
        order.add(from_table, to_table)
    return (tables[name] for name in order.static_order())


def _write_table(connection: Connection, directory: Path, name: str, columns: list[str], told: Told) -> Table:
    path = directory / f"{name}.gz"
    # Without a time in it, so that the same rows are the same file.
    with gzip.GzipFile(path, "wb", compresslevel=1, mtime=0) as rows, connection.cursor() as cursor:
        cursor.copy_expert(_copy(name, columns, "TO STDOUT"), rows)
        copied = cursor.rowcount
    told(f"{name}: {copied:,} rows")
    return Table(name, columns, copied, _sha256(path))


def _load_table(connection: Connection, directory: Path, table: Table) -> None:
    with gzip.open(directory / f"{table.name}.gz") as rows, connection.cursor() as cursor:
        cursor.copy_expert(_copy(table.name, table.columns, "FROM STDIN"), rows)
        if cursor.rowcount != table.rows:
            raise BadInput(f"{table.name}: {cursor.rowcount} rows instead of {table.rows} in the copy: copy it again")


def _verify(directory: Path, manifest: Manifest) -> None:
    """Before the database is touched: what PostgreSQL says of half a row helps nobody."""
    for table in manifest.tables:
        try:
            whole = _sha256(directory / f"{table.name}.gz") == table.sha256
        except (gzip.BadGzipFile, zlib.error, EOFError, FileNotFoundError):
            whole = False
        if not whole:
            raise BadInput(f"{table.name}.gz in {directory} is damaged: copy it again")


def _sha256(path: Path) -> str:
    with gzip.open(path) as rows:
        return hashlib.file_digest(rows, "sha256").hexdigest()


def _copy(table: str, columns: list[str], direction: str) -> Composed:
    # The columns come quoted from the database that has them; a manifest is as trusted as the rows beside it.
    return SQL("COPY {} ({}) {}").format(Identifier(table), SQL(", ").join(map(SQL, columns)), SQL(direction))


def _switch_triggers(connection: Connection, word: str) -> None:
    for (statement,) in list(_queries.triggers(connection, word=word)):
        _execute(connection, statement)


def _execute(connection: Connection, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@contextmanager
def _storage(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFault(f"{directory} cannot be read or written: {error.strerror or error}") from error
