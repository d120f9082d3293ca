"""Databases that hold a loaded catalogue, made once and kept: ``with database("first") as kept: connected(kept.conninfo(role))``.

They lie in $XDG_CACHE_HOME (~/.cache; /var/cache for root, since the server runs as another user) under piwheels-builder-bench,
named after size, migrations and the generator's version. Where one has all migrations but the newest, a copy of it is migrated
(today's size is not copied, but migrated itself); what belongs to no checkout any more may be removed.
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

SizeName = Literal["percent", "first", "sample", "today"]


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
        _copy(place, private / "it")
    # As root the server runs as another user, who has to get there.
    private.chmod(0o755)
    try:
        with _opened(_at(private / "it")) as copied:
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
    return home() / f"{size}-{hashlib.sha256(_migrations().encode()).hexdigest()[:8]}-{VERSION}"


def _migrations() -> str:
    return "".join(f"{step.name} {step.sha256}\n" for step in steps() if not step.repeatable)


def _at(place: Path) -> EmbeddedDatabase:
    return EmbeddedDatabase(place / "data", place / "run", "nobody" if os.geteuid() == 0 else None, (getpass.getuser(),))


@contextmanager
def _one_at_a_time(size: SizeName) -> Iterator[None]:
    with (home() / f"{size}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _opened(kept: EmbeddedDatabase) -> Iterator[EmbeddedDatabase]:
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
    if older := _older(size):
        _copy(older, fresh, keep=size != "today")
        with _opened(_at(fresh)) as server:
            _as_superuser(server, "checkpoint")
    else:
        fresh.mkdir()
        fresh.chmod(0o755)
        _load(size, _at(fresh))
    (fresh / "migrations").write_text(_migrations())
    # What was written while fsync was off may still be on its way.
    os.sync()
    fresh.rename(place)
    return place


def _older(size: SizeName) -> Path | None:
    """A kept database that has most of our migrations, and no others."""
    ours = set(_migrations().splitlines())
    kept = {file.parent: set(file.read_text().splitlines()) for file in home().glob(f"{size}-*-{VERSION}/migrations")}
    return max((place for place, theirs in kept.items() if theirs <= ours), key=lambda place: len(kept[place]), default=None)


def _copy(place: Path, to: Path, *, keep: bool = True) -> None:
    if keep:
        subprocess.run(["cp", "-a", "--reflink=auto", place, to], check=True)
    else:
        place.rename(to)


def _load(size: SizeName, database: EmbeddedDatabase) -> None:
    with running(database) as server:
        create_roles_and_database(server)
        with connected(server.conninfo("piwheels_owner")) as connection:
            migrate(connection)
        _as_superuser(server, "hasten_server", "reload_settings")
        load(server.conninfo("piwheels_owner"), Catalogue(SIZES[size]), quiet=size == "percent")
        _as_superuser(server, "calm_server", "reload_settings", "checkpoint")


def _as_superuser(server: EmbeddedDatabase, *names: str) -> None:
    with connected(server.superuser_conninfo(), autocommit=True) as connection:
        for name in names:
            for statement in filter(str.strip, getattr(queries, name).sql.split(";")):
                # ALTER SYSTEM runs in no transaction block, not even that of several statements.
                with connection.cursor() as cursor:
                    cursor.execute(statement)
