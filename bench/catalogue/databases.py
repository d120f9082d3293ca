"""Databases that hold a loaded catalogue, made once and kept: ``with database("first") as kept: connected(kept.conninfo(role))``.

They lie in $XDG_CACHE_HOME (~/.cache; /var/cache for root, since the server runs as another user) under piwheels-builder-bench,
named after size, migrations and the generator's version; what is named otherwise nobody opens, and may be removed.
"""

import fcntl
import getpass
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from bench.catalogue import VERSION
from bench.catalogue.generate import Catalogue
from bench.catalogue.load import load, queries
from bench.catalogue.shape import SIZES
from piwheels_builder.db.connect import connected
from piwheels_builder.db.embedded import EmbeddedDatabase, create_roles_and_database, running
from piwheels_builder.db.migrate import migrate, steps

SizeName = Literal["percent", "first", "today"]


@contextmanager
def database(size: SizeName, *, copy: bool | None = None) -> Iterator[EmbeddedDatabase]:
    """A running server with the catalogue of this size, made first where there is none, with the functions of this checkout.

    ``copy``: a private copy that is removed afterwards (the default for percent). Else the kept one itself, one caller at a time:
    put back what you change. Connect as piwheels_owner, piwheels_dispatcher or builder_pi1 to builder_pi19.
    """
    with _one_at_a_time(size):
        place = _made(size)
        if not (size == "percent" if copy is None else copy):
            with _opened(_at(place)) as kept:
                yield kept
            return
        private = Path(tempfile.mkdtemp(prefix="copy-", dir=home()))
        private.chmod(0o755)
        subprocess.run(["cp", "-a", "--reflink=auto", f"{place}/.", private], check=True)
    try:
        with _opened(_at(private)) as copied:
            yield copied
    finally:
        shutil.rmtree(private)


def home() -> Path:
    """Where they are kept."""
    usual = Path("/var/cache") if os.geteuid() == 0 else Path.home() / ".cache"
    directory = Path(os.environ.get("XDG_CACHE_HOME") or usual) / "piwheels-builder-bench"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def place_of(size: SizeName) -> Path:
    """Where the database of this size, these migrations and this generator is, or will be."""
    migrations = hashlib.sha256("".join(step.name + step.sql for step in steps() if not step.repeatable).encode())
    return home() / f"{size}-{migrations.hexdigest()[:8]}-{VERSION}"


def _at(place: Path) -> EmbeddedDatabase:
    return EmbeddedDatabase(place / "data", place / "run", "nobody" if os.geteuid() == 0 else None, (getpass.getuser(),))


@contextmanager
def _one_at_a_time(size: SizeName) -> Iterator[None]:
    with (home() / f"{size}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _opened(kept: EmbeddedDatabase) -> Iterator[EmbeddedDatabase]:
    # A server that was killed leaves this behind; the lock says that none is running.
    (kept.data_dir / "postmaster.pid").unlink(missing_ok=True)
    with running(kept):
        with connected(kept.conninfo("piwheels_owner")) as connection:
            migrate(connection)
        yield kept


def _made(size: SizeName) -> Path:
    """The place of the database, which is there whole or not at all."""
    place = place_of(size)
    if place.exists():
        return place
    fresh = place.with_name(f"{place.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    fresh.chmod(0o755)
    with running(_at(fresh)) as server:
        create_roles_and_database(server)
        with connected(server.conninfo("piwheels_owner")) as connection:
            migrate(connection)
        _as_superuser(server, "hasten_server", "reload_settings")
        load(server.conninfo("piwheels_owner"), Catalogue(SIZES[size]), quiet=size == "percent")
        _as_superuser(server, "calm_server", "reload_settings", "checkpoint")
    # What was written while fsync was off may still be on its way.
    os.sync()
    fresh.rename(place)
    return place


def _as_superuser(server: EmbeddedDatabase, *names: str) -> None:
    with connected(server.superuser_conninfo(), autocommit=True) as connection:
        for name in names:
            for statement in filter(str.strip, getattr(queries, name).sql.split(";")):
                # ALTER SYSTEM runs in no transaction block, not even that of several statements.
                with connection.cursor() as cursor:
                    cursor.execute(statement)
