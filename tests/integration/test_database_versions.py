"""What the fleet asks of PostgreSQL, every version of Debian's server that is installed here does as well, and over TLS."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from piwheels_builder.db.connect import connected
from piwheels_builder.db.embedded import EmbeddedDatabase, create_roles_and_database
from piwheels_builder.errors import DatabaseAway, DatabaseRefused
from piwheels_builder.queue.members import serial_of
from piwheels_builder.states import Outcome
from tests.support.database import fresh_database
from tests.support.debian_database import INSTALLED, debian_server
from tests.support.fleet import Fleet

#: Of the loopback network, so that the port of a server that runs here anyway is free.
ADDRESS = "127.87.15.1"
BEAT = "SELECT heartbeat('{}', '{}', '1 hour', true, %s)"


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Authority:
    """A fleet's own, with all its certificates in one directory."""

    def __init__(self, place: Path) -> None:
        self.place = place
        keys = ("-keyout", place / "ca.key", "-out", place / "ca.pem")
        openssl("req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=authority", *keys)

    def certify(self, name: str, common_name: str) -> Path:
        """A new certificate, in ``name``.pem, with its key in ``name``.key."""
        key, request, certificate = (self.place / f"{name}.{end}" for end in ("key", "csr", "pem"))
        openssl("req", "-newkey", "ed25519", "-nodes", "-keyout", key, "-subj", f"/CN={common_name}", "-out", request)
        ca = ("-CA", self.place / "ca.pem", "-CAkey", self.place / "ca.key")
        openssl("x509", "-req", "-in", request, *ca, "-set_serial", str(uuid4().int), "-out", certificate)
        return certificate


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module", params=sorted(INSTALLED))
def server(request: pytest.FixtureRequest, authority: Authority) -> Iterator[EmbeddedDatabase]:
    """Reached by its socket, and by builders with a certificate."""
    access = "hostssl all +piwheels_builder 127.0.0.0/8 cert\n"
    with debian_server(request.param, options=f"-c listen_addresses={ADDRESS}", access=access) as database:
        secure(database, authority)
        yield database


def secure(database: EmbeddedDatabase, authority: Authority) -> None:
    """Switch TLS on."""
    certificate = authority.certify("server", ADDRESS)
    files = {"server.crt": certificate, "server.key": certificate.with_suffix(".key"), "root.crt": authority.place / "ca.pem"}
    for name, source in files.items():
        path = database.data_dir / name
        path.write_bytes(source.read_bytes())
        path.chmod(0o600)
        os.chown(path, database.data_dir.stat().st_uid, database.data_dir.stat().st_gid)
    with connected(database.superuser_conninfo(), autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER SYSTEM SET ssl_ca_file = 'root.crt'")
        cursor.execute("ALTER SYSTEM SET ssl = on")
        cursor.execute("SELECT pg_reload_conf()")


@pytest.fixture
def fleet(server: EmbeddedDatabase) -> Iterator[Fleet]:
    """A fleet without a builder."""
    with fresh_database(server) as database:
        yield Fleet(database)


def beat(fleet: Fleet, certificate: Path, role: str = "builder_pi1") -> str:
    """What a heartbeat over TLS with this certificate is answered. Raises what the server says, once TLS is switched on."""
    conninfo = (
        f"host={ADDRESS} dbname={fleet.database.name} user={role} sslmode=verify-ca sslrootcert={certificate.with_name('ca.pem')}"
    )
    conninfo += f" sslcert={certificate} sslkey={certificate.with_suffix('.key')}"
    with connected(conninfo) as connection, connection.cursor() as cursor:
        cursor.execute(BEAT, (str(uuid4()),))
        ((answer,),) = cursor.fetchall()
    return str(answer)


def test_a_build_goes_all_its_way(fleet: Fleet) -> None:
    fleet.add_builder("pi1")
    built, failed = fleet.want("built"), fleet.want("failed")
    rows = fleet.lease_all("pi1")
    assert {row["build_id"] for row in rows} == {built, failed}
    lease_id = rows[0]["lease_id"]
    fleet.heartbeat("pi1", [built])
    assert fleet.state(built) == "building"
    assert fleet.record("pi1", lease_id, built) == "recorded"
    assert fleet.record("pi1", lease_id, failed, Outcome.BUILD_ERROR, log_size=100) == "recorded"
    settled = ("SELECT build_id FROM settled(%s::uuid[], %s)", [lease_id] * 2, [built, failed])
    assert fleet.ask(*settled, role="builder_pi1") == []
    fleet.publish(1)
    fleet.ask("SELECT log_stored(attempt_id, 'a') FROM log_awaiting", role="piwheels_publisher")
    assert fleet.ask(*settled, role="builder_pi1") == [(built,), (failed,)]
    assert fleet.record("pi1", lease_id, fleet.want("other")) == "refused"
    told = fleet.ask("SELECT became FROM distrust_builder('pi1', '-infinity', 'why', true)", role="piwheels_publisher")
    assert told == [("queued again",), ("withdrawn",)]
    assert fleet.reclaim() == 0


def test_the_owner_keeps_the_logins_of_builders(fleet: Fleet) -> None:
    fleet.add_builder("pi1")
    assert fleet.ask("SHOW statement_timeout", role="builder_pi1") == [("1min",)]
    assert fleet.ask("SELECT retire_builder('pi1', 'worn out')") == [(True,)]
    with pytest.raises(DatabaseAway, match="not permitted to log in"):
        fleet.ask(BEAT, None, role="builder_pi1")
    fleet.add_builder("pi1")
    assert fleet.ask(BEAT, None, role="builder_pi1") == [("alive",)]
    with connected(fleet.database.superuser_conninfo(), autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE ROLE builder_restored LOGIN IN ROLE piwheels_builder")
    create_roles_and_database(fleet.database)
    fleet.add_builder("restored")
    assert fleet.ask("SHOW statement_timeout", role="builder_restored") == [("1min",)]


def test_a_builder_is_believed_with_the_certificate_that_is_pinned(fleet: Fleet, authority: Authority) -> None:
    fleet.add_builder("pi1")
    fleet.add_builder("pi2")
    mine, older, other = (authority.certify(name, f"builder_{name[:3]}") for name in ("pi1", "pi1-older", "pi2"))
    with pytest.raises(DatabaseRefused, match="not the one that is pinned"):
        beat(fleet, mine)
    fleet.ask("SELECT register_builder('pi1', 2, 1, array_agg(target_id), %s) FROM builder_target", serial_of(mine.read_text()))
    assert beat(fleet, mine) == "alive"
    with pytest.raises(DatabaseRefused, match="not the one that is pinned for pi1"):
        beat(fleet, older)
    with pytest.raises(DatabaseRefused, match="not the one that is pinned for pi1"):
        fleet.ask(BEAT, None, role="builder_pi1")
    with pytest.raises(DatabaseAway, match="authentication failed"):
        beat(fleet, other)
    fleet.ask("SELECT retire_builder('pi1', 'worn out')")
    with pytest.raises(DatabaseAway, match="not permitted to log in"):
        beat(fleet, mine)
