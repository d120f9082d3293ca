"""Debian's PostgreSQL, which is older than the embedded one, for tests of what moves between the two."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from piwheels_builder.db.connect import connected
from piwheels_builder.db.embedded import EmbeddedDatabase, create_roles_and_database
from piwheels_builder.db.migrate import migrate

#: The programs of each version that is installed here, by its number.
INSTALLED = {int(path.parent.name): path for path in Path("/usr/lib/postgresql").glob("[1-9]*/bin") if (path / "initdb").exists()}


@contextmanager
def debian_server(version: int, *, options: str = "", access: str = "") -> Iterator[EmbeddedDatabase]:
    """A server whose database ``template`` is migrated, as tests.support.database has one of the embedded version.

    ``options`` are further ones for the server, ``access`` further lines of its pg_hba.conf.
    """
    place = Path(tempfile.mkdtemp(prefix="fleet-pg-", dir="/tmp"))
    for directory in (place, place / "run"):
        directory.mkdir(exist_ok=True)
        directory.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(directory, "nobody")
    data = str(place / "data")
    try:
        _run(version, "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C")
        (place / "data/pg_hba.conf").write_text("local all all trust\n" + access)
        started_with = f"-k {place / 'run'} -c listen_addresses= {options}"
        _run(version, "pg_ctl", "-D", data, "-o", started_with, "-l", f"{place / 'run'}/log", "-w", "start")
        database = EmbeddedDatabase(place / "data", place / "run", name="template")
        create_roles_and_database(database)
        with connected(database.conninfo("piwheels_owner")) as connection:
            migrate(connection)
        yield database
    finally:
        if (place / "data/postmaster.pid").exists():
            _run(version, "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(place)


def _run(version: int, program: str, *arguments: str) -> None:
    command = [str(INSTALLED[version] / program), *arguments]
    if os.geteuid() == 0:
        group = pwd.getpwnam("nobody").pw_gid
        subprocess.run(command, cwd="/", check=True, stdout=subprocess.DEVNULL, user="nobody", group=group, extra_groups=[])
    else:
        subprocess.run(command, cwd="/", check=True, stdout=subprocess.DEVNULL)
