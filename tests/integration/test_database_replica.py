"""A server that follows the fleet's database: copied once, anew where it has to be, and seen by how far it is behind."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from piwheels_builder.db.connect import connected
from piwheels_builder.db.embedded import EmbeddedDatabase
from piwheels_builder.db.replica import Standby, copy, follows
from piwheels_builder.db.replication import Replica, replicas, settle, slot_of
from piwheels_builder.errors import BadInput, DatabaseAway, DatabaseRefused, StorageFault
from tests.support.database import rows
from tests.support.debian_database import INSTALLED, debian_server

pytestmark = pytest.mark.skipif(not INSTALLED, reason="Debian's PostgreSQL is not installed")

NAME = "Copy-1"
#: A replica that is away is given up after one segment of log.
OPTIONS = "-c max_slot_wal_keep_size=16MB -c max_wal_senders=10 -c min_wal_size=32MB"


@pytest.fixture(scope="module")
def primary() -> Iterator[EmbeddedDatabase]:
    with debian_server(min(INSTALLED), options=OPTIONS, access="local replication all trust\n") as database:
        yield database


class Host:
    """A replica's host: its server's files, and the server."""

    def __init__(self, place: Path, primary: EmbeddedDatabase) -> None:
        self.run_as = "nobody" if os.geteuid() == 0 else None
        self.socket_dir = place / "run"
        for directory in (place, self.socket_dir):
            directory.mkdir(exist_ok=True)
            directory.chmod(0o755)
            if self.run_as:
                shutil.chown(directory, self.run_as)
        conninfo = f"host={primary.socket_dir} user=piwheels_replica application_name={NAME}"
        self.standby = Standby(place / "data", conninfo, slot_of(NAME), INSTALLED[min(INSTALLED)], self.run_as)

    def copy(self) -> None:
        copy(self.standby, self.stop)
        settings = (
            f"primary_conninfo = '{self.standby.primary}'\nprimary_slot_name = '{self.standby.slot}'\nlisten_addresses = ''\n"
        )
        with (self.standby.data_dir / "postgresql.auto.conf").open("a") as written:
            written.write(settings)

    def start(self) -> None:
        self._pg_ctl("start", "-o", f"-k {self.socket_dir}", "-l", str(self.socket_dir / "log"))

    def stop(self) -> None:
        if (self.standby.data_dir / "postmaster.pid").exists():
            self._pg_ctl("stop", "-m", "fast")

    def _pg_ctl(self, word: str, *options: str) -> None:
        command = [self.standby.programs / "pg_ctl", "-D", self.standby.data_dir, "-w", word, *options]
        as_user = {"user": self.run_as, "group": "nogroup", "extra_groups": []} if self.run_as else {}
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, **as_user)  # type: ignore[call-overload]

    def ask(self, statement: str) -> object:
        with connected(f"host={self.socket_dir} dbname=template user=piwheels_reader") as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            found = cursor.fetchone()
        assert found is not None
        return found[0]


@contextmanager
def a_host(primary: EmbeddedDatabase) -> Iterator[Host]:
    place = Path(tempfile.mkdtemp(prefix="fleet-copy-", dir="/tmp"))
    host = Host(place, primary)
    try:
        yield host
    finally:
        host.stop()
        shutil.rmtree(place)


@pytest.fixture
def host(primary: EmbeddedDatabase) -> Iterator[Host]:
    """A host that may copy the database, and has nothing yet; afterwards no log is kept for it."""
    settled(primary, NAME)
    with a_host(primary) as host:
        yield host
    settled(primary)


def settled(primary: EmbeddedDatabase, *names: str, check: bool = False) -> list[str]:
    with connected(primary.superuser_conninfo(), autocommit=True) as connection:
        return settle(connection, names, check=check)


def ask(primary: EmbeddedDatabase, statement: str) -> None:
    with connected(primary.superuser_conninfo("template"), autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(statement)


def seen(primary: EmbeddedDatabase, name: str = NAME) -> Replica:
    """As the dispatcher sees it, who asks for `piwheels-builder replicas`."""
    with connected(primary.conninfo("piwheels_dispatcher")) as connection:
        return replicas(connection, [name])[0]


def becomes(found: Callable[[], object], wanted: object) -> None:
    until = time.monotonic() + 20
    while (last := found()) != wanted:
        assert time.monotonic() < until, last
        time.sleep(0.05)


def test_a_replica_follows_what_is_written_and_answers_who_reads(primary: EmbeddedDatabase, host: Host) -> None:
    assert seen(primary).state == "missing"
    assert not follows(host.standby)
    host.copy()
    assert follows(host.standby)
    assert seen(primary).state == "away"
    host.start()
    ask(primary, "INSERT INTO opt_out (project, reason) VALUES ('demo', 'asked') ON CONFLICT DO NOTHING")
    becomes(lambda: host.ask("SELECT count(*) FROM opt_out WHERE project = 'demo'"), 1)
    becomes(lambda: (seen(primary).state, seen(primary).behind_bytes), ("streaming", 0))
    assert seen(primary).trouble(most_bytes=0, most_seconds=60) is None
    assert host.ask("SELECT pg_is_in_recovery()") is True
    host.stop()
    assert follows(host.standby), "a replica that is off is one still"
    assert "not connected" in (seen(primary).trouble(2**40, 60) or "")


def test_one_that_was_away_for_too_long_is_copied_anew(primary: EmbeddedDatabase, host: Host) -> None:
    host.copy()
    ask(primary, "CREATE TABLE IF NOT EXISTS filler AS SELECT generate_series(1, 10) AS n")
    for _ in range(6):
        ask(primary, "INSERT INTO filler SELECT generate_series(1, 1000); SELECT pg_switch_wal()")
    ask(primary, "CHECKPOINT")
    assert seen(primary).state == "lost"
    assert "copied anew" in (seen(primary).trouble(2**40, 60) or "")
    assert not follows(host.standby)
    host.copy()
    assert follows(host.standby)
    host.start()
    becomes(lambda: seen(primary).state, "streaming")


def test_one_that_left_holds_no_log_and_one_that_stays_keeps_its_place(primary: EmbeddedDatabase, host: Host) -> None:
    host.copy()
    host.start()
    becomes(lambda: seen(primary).state, "streaming")
    assert settled(primary, NAME) == []
    assert settled(primary, "other", check=True) == ["keep no log for replica_copy_1"]
    assert seen(primary).state == "streaming"
    assert settled(primary, "other") == ["keep no log for replica_copy_1"]
    assert seen(primary).state == "missing"
    assert not follows(host.standby)


def test_databases_of_somebody_elses_are_not_replaced(primary: EmbeddedDatabase, host: Host) -> None:
    for number in (1, 4, 5, 16384):
        (host.standby.data_dir / "base" / str(number)).mkdir(parents=True)
    stopped: list[str] = []
    with pytest.raises(BadInput, match="holds databases"):
        copy(host.standby, lambda: stopped.append("it"))
    assert not stopped
    assert (host.standby.data_dir / "base/16384").is_dir()
    assert seen(primary).state == "missing"


def test_a_copy_of_another_database_is_none(host: Host) -> None:
    host.copy()
    control = host.standby.data_dir / "global/pg_control"
    written = control.read_bytes()
    control.write_bytes(bytes([written[0] ^ 1]) + written[1:])
    assert not follows(host.standby)
    control.write_bytes(written)
    assert follows(host.standby)


def test_a_copy_that_breaks_off_is_no_replica(host: Host) -> None:
    broken = replace(host.standby, programs=Path("/nonexistent"))
    with pytest.raises(StorageFault):
        copy(broken, host.stop)
    assert not follows(host.standby)
    host.copy()
    assert follows(host.standby)


def test_two_hosts_are_not_one_replica(primary: EmbeddedDatabase, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.copy()
    host.start()
    becomes(lambda: seen(primary).state, "streaming")
    monkeypatch.setattr("piwheels_builder.db.replica._SECONDS_TO_LET_GO", 0.5)
    with a_host(primary) as twin, pytest.raises(DatabaseRefused, match="another server follows"):
        twin.copy()
    assert seen(primary).state == "streaming"


def test_only_replicas_may_copy(primary: EmbeddedDatabase, host: Host) -> None:
    other = replace(host.standby, primary=host.standby.primary.replace("piwheels_replica", "piwheels_owner"))
    with pytest.raises(DatabaseAway, match="replication"):
        follows(other)
    with pytest.raises(DatabaseRefused, match=r"permission denied|does not exist"):
        rows(primary, "SELECT * FROM builder", role="piwheels_replica")


@pytest.mark.parametrize(
    ("replica", "told"),
    [
        (Replica("a", "streaming", 10, 0.1), None),
        (Replica("a", "streaming", 10, 61.0), "61.0 s behind"),
        (Replica("a", "catching up", 200 * 2**20), "200.0 MB behind"),
        (Replica("a", "missing"), "never made"),
    ],
)
def test_what_is_wrong_with_a_replica_is_told(replica: Replica, told: str | None) -> None:
    found = replica.trouble(most_bytes=64 * 2**20, most_seconds=60)
    assert (found is None) if told is None else (found is not None and told in found)
