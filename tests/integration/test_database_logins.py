"""Who logs in to a database on a host of its own: by the lines that the role writes, with certificates that the authority signs."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from piwheels_builder.db.connect import connected
from piwheels_builder.db.embedded import EmbeddedDatabase
from piwheels_builder.errors import DatabaseAway
from piwheels_builder.signing import LOGINS, builder, login, server
from tests.support.debian_database import INSTALLED, debian_server
from tests.support.keys import Keys

pytestmark = pytest.mark.skipif(not INSTALLED, reason="Debian's PostgreSQL is not installed")

TEMPLATES = Path(__file__).parents[2] / "roles/database/templates"
#: Of the loopback network; whoever connects to it comes from 127.0.0.1.
ADDRESS, INDEX, ELSEWHERE = "127.87.15.2", "127.0.0.1/32", "127.99.0.0/16"


def lines(index: Sequence[str], replicas: Sequence[str] = (), *, follows: bool = False) -> str:
    """pg_hba.conf as the role writes it, without its lines for the host itself."""
    jinja = Environment(loader=FileSystemLoader(TEMPLATES), trim_blocks=True, undefined=StrictUndefined, autoescape=False)
    written = jinja.get_template("pg_hba.conf.j2").render(
        ansible_managed="",
        fleet_database_name="template",
        __database_index_addresses=index,
        __database_replica_addresses=replicas,
        __database_follows=follows,
    )
    return "".join(f"{line}\n" for line in written.splitlines() if line.startswith("host"))


def conninfo(keys: Keys, user: str, certificate: Path, address: str = ADDRESS) -> str:
    trusted = f"sslmode=verify-full sslrootcert={keys.authority.certificate_path}"
    by_key = f"sslcert={certificate} sslkey={certificate.with_suffix('.key')}"
    return f"host={address} dbname=template user={user} {trusted} {by_key}"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def database(keys: Keys) -> Iterator[EmbeddedDatabase]:
    """A server that is reached as one on its own host is."""
    options = f"-c listen_addresses={ADDRESS}"
    with debian_server(min(INSTALLED), options=options, access=lines([INDEX], [INDEX])) as found:
        certificate = keys.certify(server("db", ["db.invalid", ADDRESS]))
        authority = keys.authority.certificate_path
        sources = {"server.crt": certificate, "server.key": certificate.with_suffix(".key"), "root.crt": authority}
        for name, source in sources.items():
            path = found.data_dir / name
            path.write_bytes(source.read_bytes())
            path.chmod(0o600)
            os.chown(path, found.data_dir.stat().st_uid, found.data_dir.stat().st_gid)
        with connected(found.superuser_conninfo(), autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE ROLE piwheels_replica LOGIN REPLICATION")
            cursor.execute("ALTER SYSTEM SET ssl_ca_file = 'root.crt'")
            cursor.execute("ALTER SYSTEM SET ssl = on")
        reload(found)
        yield found


def reload(database: EmbeddedDatabase) -> None:
    with connected(database.superuser_conninfo(), autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_reload_conf(), pg_sleep(0.5)")


def refusal(conninfo: str) -> str:
    """What a login ends with; nothing where it succeeds."""
    try:
        with connected(conninfo):
            return ""
    except DatabaseAway as error:
        return str(error)


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("role", [role for role in LOGINS if role != "piwheels_replica"])
def test_each_role_of_the_index_host_logs_in_by_its_own_certificate(keys: Keys, role: str) -> None:
    own = keys.certify(login(role, "hub"))
    assert refusal(conninfo(keys, role, own)) == ""
    other = "piwheels_reader" if role == "piwheels_owner" else "piwheels_owner"
    assert "certificate authentication failed" in refusal(conninfo(keys, other, own))
    assert "certificate" in refusal(conninfo(keys, role, own).replace("sslcert=", "sslcert=/nonexistent"))


@pytest.mark.usefixtures("database")
def test_a_builder_gets_no_role_of_the_index_host(keys: Keys) -> None:
    own = keys.certify(builder("pi1"))
    for role in LOGINS:
        assert "certificate authentication failed" in refusal(conninfo(keys, role, own)) or "pg_hba.conf" in refusal(
            conninfo(keys, role, own)
        )


@pytest.mark.usefixtures("database")
def test_a_replica_copies_and_reads_no_table(keys: Keys) -> None:
    own = keys.certify(login("piwheels_replica", "copy"))
    assert refusal(conninfo(keys, "piwheels_replica", own) + " replication=true") == ""
    assert "no pg_hba.conf entry" in refusal(conninfo(keys, "piwheels_replica", own))
    # The index host's owner is no replica.
    owner = keys.certify(login("piwheels_owner", "hub"))
    assert "no pg_hba.conf entry" in refusal(conninfo(keys, "piwheels_reader", owner) + " replication=true")


@pytest.mark.usefixtures("database")
def test_a_server_under_another_name_is_not_believed(keys: Keys) -> None:
    own = keys.certify(login("piwheels_reader", "hub"))
    assert "does not match" in refusal(conninfo(keys, "piwheels_reader", own, f"elsewhere.invalid hostaddr={ADDRESS}"))
    assert refusal(conninfo(keys, "piwheels_reader", own, f"db.invalid hostaddr={ADDRESS}")) == ""


def test_from_elsewhere_not_even_a_certificate_helps(keys: Keys, database: EmbeddedDatabase) -> None:
    access = database.data_dir / "pg_hba.conf"
    before = access.read_text()
    try:
        access.write_text("local all all trust\n" + lines([ELSEWHERE], [ELSEWHERE]))
        reload(database)
        # As a member of the builders' role the owner would be let in from everywhere.
        owner = keys.certify(login("piwheels_owner", "hub"))
        assert "rejects connection" in refusal(conninfo(keys, "piwheels_owner", owner))
        reader = keys.certify(login("piwheels_reader", "hub"))
        assert "no pg_hba.conf entry" in refusal(conninfo(keys, "piwheels_reader", reader))
        # On a replica nobody but who reads has business.
        access.write_text("local all all trust\n" + lines([INDEX], follows=True))
        reload(database)
        assert refusal(conninfo(keys, "piwheels_reader", reader)) == ""
        assert "no pg_hba.conf entry" in refusal(conninfo(keys, "piwheels_owner", owner))
    finally:
        access.write_text(before)
        reload(database)
