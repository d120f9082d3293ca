"""What a builder that somebody took over can do with its login and its network, beyond its three functions: nothing."""

import json
import time
from collections.abc import Iterator, Mapping
from uuid import uuid4

import pytest

from tests.rack.attacks import PYTHON, Intruder, Operator
from tests.rack.hosts import Host
from tests.rack.test_hostile_builder import assert_quarantined

BEAT = "SELECT heartbeat('{}', '{}', '1 hour')"
MAY = {"heartbeat", "record_attempt", "settled"}
TABLES = """
    SELECT oid::regclass::text FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm', 'p', 'S') ORDER BY 1
"""
FUNCTIONS = """
    SELECT DISTINCT proname FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace AND has_function_privilege(oid, 'EXECUTE') ORDER BY 1
"""
#: One statement of each kind; all are refused.
DEEDS = [
    # Read what is on the index host, and run something there.
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_read_binary_file('/etc/piwheels-builder/tls/server.key')",
    "SELECT pg_ls_dir('/')",
    "SELECT pg_stat_file('/etc/passwd')",
    "COPY (SELECT 1) TO PROGRAM 'id'",
    "COPY (SELECT 1) TO '/tmp/evil'",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_from_bytea(0, 'much')",
    "SELECT * FROM pg_hba_file_rules",
    "SELECT * FROM pg_authid",
    "SELECT * FROM pg_largeobject",
    "SELECT * FROM pg_statistic",
    "SELECT pg_current_logfile()",
    "CREATE EXTENSION dblink",
    "CREATE EXTENSION file_fdw",
    "SELECT dblink_connect('')",
    "LOAD '/tmp/evil.so'",
    "DO LANGUAGE plpython3u 'import os'",
    # Be somebody else.
    "SET ROLE piwheels_owner",
    "SET ROLE piwheels_dispatcher",
    "SET ROLE builder_trixie",
    "SET SESSION AUTHORIZATION builder_trixie",
    "ALTER ROLE builder_bookworm SUPERUSER",
    "ALTER ROLE builder_bookworm CONNECTION LIMIT -1",
    "GRANT piwheels_owner TO builder_bookworm",
    "CREATE ROLE builder_evil LOGIN",
    # Lease for itself, believe itself, publish.
    "SELECT * FROM lease_batch('bookworm', 1e9, 100, '1 hour')",
    "SELECT resume_dispatch('bookworm')",
    "SELECT suspect_builder('trixie', 'what', true)",
    "SELECT publish_wheel(1, NULL, NULL, NULL, NULL, NULL, NULL, '{}')",
    "SELECT log_stored(1, NULL)",
    "SELECT register_builder('evil', 2, 1, '{}')",
    "UPDATE builder SET standing = 'active'",
    "INSERT INTO queue (build_id) VALUES (1)",
    # Delete, alter, drop, disturb.
    "DELETE FROM attempt",
    "TRUNCATE wheel",
    "DROP TABLE wheel",
    "ALTER TABLE wheel ADD COLUMN mine int",
    "CREATE OR REPLACE FUNCTION public.heartbeat(uuid[]) RETURNS text LANGUAGE sql AS 'SELECT 1::text'",
    "DROP OWNED BY piwheels_owner",
    "DROP DATABASE piwheels",
    "CREATE TABLE mine (x int)",
    "CREATE TEMPORARY TABLE mine (x int)",
    "CREATE SCHEMA mine",
    "LOCK TABLE wheel",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> session_user",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_reload_conf()",
    "SELECT pg_switch_wal()",
    "CHECKPOINT",
    "ALTER SYSTEM SET ssl = off",
    "SET temp_file_limit = -1",
    "SET log_statement = 'none'",
    "SELECT setval('attempt_attempt_id_seq', 1)",
    "SELECT nextval('attempt_attempt_id_seq')",
]


@pytest.fixture(autouse=True)
def _amends(operator: Operator) -> Iterator[None]:
    yield
    operator.make_amends()


def test_its_login_reads_no_table_and_calls_three_functions(intruder: Intruder) -> None:
    tables, functions = intruder.ask(TABLES, FUNCTIONS)
    assert len(tables) > 20
    answers = intruder.ask(*(f"SELECT * FROM {table} LIMIT 1" for (table,) in tables))
    assert [answer for answer in answers if not str(answer).startswith("refused: permission denied")] == []
    assert {name for (name,) in functions} == MAY


def test_its_login_does_nothing_else(intruder: Intruder, operator: Operator) -> None:
    answers = intruder.ask(*DEEDS)
    assert {deed: answer for deed, answer in zip(DEEDS, answers, strict=True) if not str(answer).startswith("refused: ")} == {}
    assert not any("server closed the connection" in answer for answer in answers)
    assert operator.standing() == "active"


def test_it_does_not_see_what_others_ask(intruder: Intruder, rack: Mapping[str, Host]) -> None:
    asked = "SELECT usename, query, client_addr FROM pg_stat_activity WHERE usename <> session_user"
    certificate = "SELECT * FROM pg_stat_ssl WHERE client_dn IS NOT NULL AND pid <> pg_backend_pid()"
    (others, certificates) = intruder.ask(asked, certificate)
    assert {(query, address) for _, query, address in others} <= {("<insufficient privilege>", None)}
    assert certificates == []
    assert rack


LOGINS = [
    {"user": "builder_trixie"},
    {"user": "piwheels_owner"},
    {"user": "piwheels_dispatcher"},
    {"user": "piwheels_publisher"},
    {"user": "piwheels_reader"},
    {"user": "postgres"},
    {"user": "builder_bookworm", "sslmode": "disable"},
    {"user": "piwheels_owner", "sslmode": "disable"},
    {"user": "builder_bookworm", "sslmode": "require", "sslcert": "/none"},
    {"user": "builder_bookworm", "dbname": "postgres"},
    {"user": "builder_bookworm", "dbname": "template1"},
    {"user": "builder_bookworm", "dbname": "piwheels", "replication": "database"},
    {"user": "builder_bookworm", "replication": "true"},
    {"user": "piwheels_builder"},
]


@pytest.mark.parametrize("login", LOGINS, ids=lambda login: "-".join(login.values()).replace("/", ""))
def test_it_logs_in_as_nobody_else(intruder: Intruder, login: dict[str, str]) -> None:
    (answer,) = intruder.ask(otherwise=login)
    assert answer.startswith("no login: ")
    words = ("certificate authentication failed", "no pg_hba.conf entry", "requires a valid client certificate", "is not permitted")
    assert any(word in answer for word in (*words, "must be superuser or replication role")), answer


def test_a_certificate_of_its_own_making_is_none(intruder: Intruder) -> None:
    """With the right name, signed by a key of its own."""
    script = """
        cd /run && openssl ecparam -name prime256v1 -genkey -noout -out own.key && chmod 600 own.key &&
        openssl req -x509 -new -key own.key -subj /CN=builder_trixie -days 30 -out own.pem
    """
    intruder.host.must("sh", "-c", script)
    (answer,) = intruder.ask(otherwise={"user": "builder_trixie", "sslcert": "/run/own.pem", "sslkey": "/run/own.key"})
    assert answer.startswith("no login: ")
    assert "unknown ca" in answer or "certificate" in answer


# Too much of everything.

_HOLD = """
import time, psycopg2, yaml
login = yaml.safe_load(open("/etc/piwheels-builder/builder.yml"))["database"]
held = []
for _ in range(30):
    try:
        held.append(psycopg2.connect(login))
    except psycopg2.Error as error:
        refused = str(error)
print(len(held), refused, flush=True)
time.sleep(15)
"""
_BEATS = """
import time, psycopg2, yaml, uuid
login = yaml.safe_load(open("/etc/piwheels-builder/builder.yml"))["database"]
connection = psycopg2.connect(login)
connection.autocommit = True
cursor, until, beats = connection.cursor(), time.monotonic() + 8, 0
while time.monotonic() < until:
    cursor.execute("SELECT heartbeat('{}', '{}', '1 hour', true, %s::uuid)", (str(uuid.uuid4()),))
    beats += 1
print(beats)
"""


def _start(host: Host, script: str) -> None:
    host.must("systemd-run", "--quiet", "--collect", PYTHON, "-c", script)


@pytest.mark.parametrize("flood", [_HOLD, _BEATS], ids=["connections", "heartbeats"])
def test_a_flood_keeps_no_other_builder_out(intruder: Intruder, operator: Operator, rack: Mapping[str, Host], flood: str) -> None:
    (leased,) = operator.lease_new("flooded", builder="trixie")
    honest = Intruder(rack["trixie"])
    _start(intruder.host, flood)
    time.sleep(2)
    began = time.monotonic()
    assert honest.ask(BEAT) == [[["alive"]]]
    assert honest.record(leased, outcome="killed") == "recorded"
    assert time.monotonic() - began < 20
    # More than one row each is not kept of what it draws.
    assert int(operator.psql("SELECT max(cardinality(former_sessions)) FROM builder")) <= 50
    time.sleep(10)


def test_connections_are_four(intruder: Intruder) -> None:
    told = intruder.host.must(PYTHON, "-c", _HOLD.replace("time.sleep(15)", ""))
    assert told.startswith("4 ")
    assert "too many connections for role" in told


_PAST_LOGIN = """
import socket, time
held = [socket.create_connection(("index", 5432), timeout=5) for _ in range(400)]
time.sleep(12)
"""


def test_connections_that_never_log_in_keep_no_other_builder_out(
    intruder: Intruder, operator: Operator, rack: Mapping[str, Host]
) -> None:
    _start(intruder.host, _PAST_LOGIN)
    time.sleep(2)
    try:
        assert Intruder(rack["trixie"]).ask(BEAT) == [[["alive"]]]
        assert operator.standing() == "active"
    finally:
        time.sleep(11)


def test_what_is_huge_is_cut_or_refused(intruder: Intruder, operator: Operator) -> None:
    (leased,) = operator.lease_new("huge")
    record = """
        SELECT record_attempt(%s::uuid, %s, 'build_error', now(), 1, NULL, repeat('e', 50000000), repeat('l', 50000000),
                              repeat('t', 50000000), NULL, NULL, NULL, repeat('m', 50000000), repeat('m', 50000000))
    """
    many = "ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 1000000))"
    answers = intruder.ask(
        [record, leased.lease_id, leased.build_id],
        f"SELECT heartbeat({many}, '{{}}', '1 hour')",
        "SELECT heartbeat('{}', ARRAY(SELECT generate_series(1, 1000000)::bigint), '1 hour')",
        f"SELECT count(*) FROM settled({many}, ARRAY(SELECT generate_series(1, 1000000)::bigint))",
        "SELECT heartbeat('{}', '{}', '100 years')",
    )
    assert answers[0] == [["recorded"]]
    assert all(str(answer).startswith("refused") or answer in ([["alive"]], [[1000000]]) for answer in answers[1:])
    told = operator.psql(
        f"SELECT length(error_line), length(log_tail), length(toolchain), length(mechanism), length(missing) FROM attempt"
        f" WHERE build_id = {leased.build_id}"
    )
    assert told.strip() == "1000|20000|1000|100|300"


def test_no_query_takes_the_index_hosts_memory_or_disk(intruder: Intruder, operator: Operator) -> None:
    before = operator.psql("SELECT pg_postmaster_start_time()")
    much = "SELECT count(*) FROM (SELECT repeat('x', 1000000) || i FROM generate_series(1, 10000) AS i ORDER BY 1 OFFSET 1) AS much"
    answers = intruder.ask("SET work_mem = '64GB'", much, "SET work_mem = '64kB'", much, seconds=200)
    assert "out of memory" in answers[1], answers[1]
    assert "temporary file size exceeds temp_file_limit" in answers[3], answers[3]
    assert operator.psql("SELECT pg_postmaster_start_time()") == before
    assert operator.psql("SELECT 1").strip() == "1"


# Its network.

_SCAN = """
import socket, sys
for address in sys.argv[1:]:
    open_ports = []
    for port in range(1, 65536):
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.settimeout(1)
            if probe.connect_ex((address, port)) == 0:
                open_ports.append(port)
    print(*open_ports)
"""


def test_it_reaches_four_ports_of_the_index_host(intruder: Intruder, rack: Mapping[str, Host]) -> None:
    index = rack["index"].address
    assert index.ipv4
    told = intruder.host.must("python3", "-c", _SCAN, index.ipv4, index.ipv6).splitlines()
    assert [set(map(int, line.split())) - {80} for line in told] == [{22, 443, 5432}, {22, 443, 5432}]


def test_no_key_that_it_holds_opens_another_host(intruder: Intruder, rack: Mapping[str, Host]) -> None:
    keys = intruder.host.must(
        "sh", "-c", "grep -rlE 'BEGIN [A-Z ]*PRIVATE KEY' /etc /root /home /var /opt /srv --include=* 2>/dev/null || true"
    ).split()
    keys = [key for key in keys if "/site-packages/" not in key]
    assert "/etc/piwheels-builder/client.key" in keys
    users = ("root", "piwheels-fleet", "piwheels-collector", "piwheels-dispatcher", "piwheels-publisher", "postgres")
    options = (
        "-o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o IdentitiesOnly=yes -o ConnectTimeout=5"
    )
    tries = [
        f"(ssh {options} -i {key} {user}@{rack[name].address.reached_at} id && echo IN {key} {user} {name})"
        for key in keys
        for user in users
        for name in ("index", "trixie")
    ]
    told = intruder.host.run("sh", "-c", " & ".join(tries) + " & wait", seconds=120)
    assert "IN " not in told.output
    assert told.errors.count("Permission denied") + told.errors.count("closed by") + told.errors.count("reset by") >= len(tries)


def test_sessions_that_change_are_two_hosts(intruder: Intruder, operator: Operator) -> None:
    """A host restored from an image, or a second one, speaks in turns with the first."""
    beat = "SELECT heartbeat('{}', '{}', '1 hour', true, %s::uuid)"
    sessions = [str(uuid4()) for _ in range(3)]
    assert [intruder.ask([beat, session])[0] for session in sessions] == [[["alive"]]] * 3
    assert intruder.ask([beat, sessions[0]]) == [[["quarantined"]]]
    assert_quarantined(operator, "two hosts call themselves bookworm")


def test_what_its_words_do_to_a_terminal(intruder: Intruder, operator: Operator) -> None:
    (leased,) = operator.lease_new("words")
    evil = "\x1b]0;owned\x07\x1b[2J\u202eevil [bold]error[/bold]\r\nmore"
    record = """
        SELECT record_attempt(%s::uuid, %s, 'missing_header', now(), 1, NULL, %s, %s, %s, NULL, NULL, NULL, %s, %s)
    """
    assert intruder.ask([record, leased.lease_id, leased.build_id, *[evil] * 5]) == [[["recorded"]]]
    (foreign,) = operator.lease_new("named")
    assert intruder.record(foreign, wheel=evil) == "refused"
    commands = (
        ["report", leased.project],
        ["status"],
        ["failures"],
        ["failures", "--by", "toolchain"],
        ["explain", leased.project],
    )
    told = ["".join(operator.try_command(*command)) for command in commands]
    assert all(told)
    assert [letter for letter in "".join(told) if not letter.isprintable() and letter != "\n"] == []
    assert "evil [bold]error[/bold]" in told[0]
    assert json.loads(operator.command("status", "--json"))["incidents"]
