"""A builder that somebody took over tries to have published what it was never asked for: refused, told, and forgiven."""

import gzip
import re
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from tests.rack.attacks import BUILDER, OUTBOX, Intruder, Leased, Operator
from tests.rack.playbooks import Run
from tests.support.published import make_wheel

INCOMING = "/var/lib/piwheels-builder/incoming/bookworm"


@pytest.fixture(autouse=True)
def _amends(operator: Operator) -> Iterator[None]:
    yield
    operator.make_amends()


def assert_quarantined(operator: Operator, why: str) -> None:
    """It is noted, the operator is told what to do, and the builder is given nothing."""
    assert operator.standing() == "quarantined"
    assert any(why in what for what in operator.incidents()), operator.incidents()
    told = operator.command("status")
    line = next(line for line in told.splitlines() if line.startswith("bookworm is quarantined: "))
    assert why in line
    assert "`piwheels-builder resume bookworm`" in line
    assert "`piwheels-builder distrust bookworm --since TIME --reason WHY`" in line
    operator.want("left")
    assert operator.lease() == []


def wheel_of(leased: Leased, place: Path, text: str = "") -> bytes:
    return make_wheel(place, leased.project, text=text).read_bytes()


def lie_of(leased: Leased, place: Path) -> bytes:
    """A whole wheel, whose METADATA is another project's."""
    stem = leased.wheel.removesuffix("-py3-none-any.whl")
    with zipfile.ZipFile(make_wheel(place, "docopt")) as other, zipfile.ZipFile(place / "lie.whl", "w") as lie:
        for name in other.namelist():
            content = other.read(name)
            record = content.replace(b"docopt-1.0", stem.encode()) if name.endswith("/RECORD") else content
            lie.writestr(name.replace("docopt-1.0", stem), record)
    return (place / "lie.whl").read_bytes()


def words_of(run: Run) -> str:
    """What a run said, without the lines that it breaks long words into."""
    return run.output.replace("\n", " ")


# What it says to the database.


@pytest.mark.parametrize(
    "wheel",
    [
        "docopt-0.6.2-py3-none-any.whl",
        "../../../published/simple/docopt/docopt-0.6.2-py3-none-any.whl",
        "{own}-9.9-py3-none-any.whl",
    ],
    ids=["of another project", "outside", "of another version"],
)
def test_a_wheel_of_something_else_is_refused(intruder: Intruder, operator: Operator, wheel: str) -> None:
    (leased,) = operator.lease_new("other")
    name = wheel.format(own=leased.project.replace("-", "_"))
    assert intruder.record(leased, wheel=name) == "refused"
    assert operator.state(leased) == "leased"
    assert_quarantined(operator, name)


def test_a_result_of_anothers_lease_is_refused(intruder: Intruder, operator: Operator) -> None:
    (leased,) = operator.lease_new("anothers", builder="trixie")
    assert intruder.record(leased) == "refused"
    assert operator.state(leased) == "leased"
    assert_quarantined(operator, f"a result of lease {leased.lease_id}, which is another builder's")


def test_a_build_that_was_never_leased_is_refused(intruder: Intruder, operator: Operator) -> None:
    (leased,) = operator.lease_new("mine")
    operator.want("nobodys")
    build_id = int(operator.psql("SELECT max(build_id) FROM build"))
    never = Leased(leased.lease_id, build_id, "x")
    assert intruder.record(never) == "refused"
    assert operator.state(never) == "pending"
    assert_quarantined(operator, f"a result of build {build_id}, which its lease")


def test_invented_leases_lead_to_nothing_and_many_to_a_quarantine(intruder: Intruder, operator: Operator) -> None:
    """As from a spool that somebody filled himself."""
    operator.want("nobodys")
    build_id = int(operator.psql("SELECT max(build_id) FROM build"))
    deed = (
        "SELECT record_attempt(%s::uuid, %s, 'built', now(), 1, NULL, NULL, NULL, NULL, 'a-1-py3-none-any.whl', repeat('a', 64), 1)"
    )
    answers = intruder.ask(*([deed, str(uuid4()), build_id] for _ in range(150)))
    assert {answer[0][0] for answer in answers} == {"lease lost"}
    assert operator.state(Leased("", build_id, "")) == "pending"
    assert operator.psql(f"SELECT count(*) FROM attempt WHERE build_id = {build_id}").strip() == "0"
    assert_quarantined(operator, "results of more than a hundred leases that nobody was given, in an hour")


def test_two_hosts_of_one_name_are_found_out(intruder: Intruder, operator: Operator) -> None:
    beat = "SELECT heartbeat('{}', '{}', '1 hour', true, %s::uuid)"
    sessions = [str(uuid4()), str(uuid4())]
    answers = [intruder.ask([beat, session])[0][0][0] for session in (*sessions, *sessions)]
    assert answers == ["alive", "alive", "quarantined", "quarantined"]
    assert_quarantined(operator, "two hosts call themselves bookworm")


# What it sends.


def test_a_wheel_with_anothers_metadata_is_refused_and_holds_all_others_back(
    intruder: Intruder, operator: Operator, tmp_path: Path
) -> None:
    lie, honest = operator.lease_new("lie", "honest")
    before = operator.files("docopt")
    assert intruder.record(lie, lie_of(lie, tmp_path)) == "recorded"
    intruder.put(lie, lie_of(lie, tmp_path))
    said = words_of(operator.publish().succeeded())
    assert "bookworm is quarantined" in said
    assert "distrust" in said
    # Its leases are its own yet, and what it says of them is kept, not believed.
    assert intruder.record(honest, wheel_of(honest, tmp_path)) == "recorded"
    intruder.put(honest, wheel_of(honest, tmp_path))
    operator.publish().succeeded()
    assert (operator.state(lie), operator.state(honest)) == ("failed", "built")
    assert (operator.files(lie.project), operator.files(honest.project), operator.files("docopt")) == ([], [], before)
    assert intruder.ask("SELECT heartbeat('{}', '{}', '1 hour')") == [[["quarantined"]]]
    assert_quarantined(operator, "METADATA says 'docopt'")
    # The operator has looked, and believes it again.
    operator.command("resume", "bookworm")
    operator.publish().succeeded()
    assert operator.files(honest.project) == [honest.wheel]


Deed = Callable[[Intruder, Leased, bytes], None]


def _swap(intruder: Intruder, leased: Leased, content: bytes) -> None:
    path = intruder.put(leased, content)
    intruder.host.must("sh", "-c", f"printf evil | dd of={path} conv=notrunc bs=1 seek=30 status=none")


def _lengthen(intruder: Intruder, leased: Leased, content: bytes) -> None:
    intruder.put(leased, content + b"more")


def _instead(made: str) -> Deed:
    def do(intruder: Intruder, leased: Leased, content: bytes) -> None:
        path = intruder.put(leased, content)
        intruder.host.must("sh", "-c", f"rm {path} && {made.format(path=path)}")

    return do


def _among_many(intruder: Intruder, leased: Leased, content: bytes) -> None:
    path = intruder.put(leased, content)
    many = f"import os\nfor n in range(100000): os.close(os.open(f'{Path(path).parent}/{{n}}', os.O_CREAT))"
    intruder.host.must("python3", "-c", many)
    intruder.host.must("mv", path, f"{path}x")


#: Nothing of these is published, and no file of them stays; what each is told as.
DEEDS: dict[str, tuple[Deed, str | None]] = {
    "swapped": (_swap, "{wheel} has other bytes than recorded"),
    "longer": (_lengthen, None),
    "link": (_instead("ln -s /etc/passwd {path}"), None),
    "fifo": (_instead("mkfifo {path}"), None),
    "device": (_instead("mknod {path} c 1 5"), None),
    "directory": (_instead("mkdir {path}"), None),
    "sparse": (_instead("truncate -s 100G {path}"), None),
    "among-many": (_among_many, None),
}


@dataclass(frozen=True)
class Round:
    """One round of publication against every deed at once, and what it was told."""

    leased: Mapping[str, Leased]
    said: str
    seconds: float
    incidents: list[str]
    attempts: Mapping[str, str]


@pytest.fixture(scope="module")
def round_of_deeds(intruder: Intruder, operator: Operator, tmp_path_factory: pytest.TempPathFactory) -> Round:
    place = tmp_path_factory.mktemp("wheels")
    failures = ("bomb", "not-gzip")
    every = operator.lease_new(*DEEDS, "key", "swapping", "honest", "again", *failures)
    leased = {each.project.split("-", 1)[1].rsplit("-", 1)[0]: each for each in every}
    contents = {label: wheel_of(each, place) for label, each in leased.items()}
    first = wheel_of(leased["again"], place, text="first")
    assert intruder.record(leased["again"], first) == "recorded"
    intruder.put(leased["again"], first)
    operator.publish().succeeded()
    assert operator.files(leased["again"].project) == [leased["again"].wheel]
    operator.psql(f"SELECT requeue_build({leased['again'].build_id}, 'trial')")
    leased["again"] = next(each for each in operator.lease() if each.project == leased["again"].project)
    _record_all(intruder, leased, contents)
    swapping = _swap_all_the_time(
        intruder, leased["swapping"], contents["swapping"], wheel_of(leased["swapping"], place, text="evil")
    )
    # As if for an hour: what was recorded within minutes may have missed the collecting, and is not lost.
    operator.psql("UPDATE attempt SET recorded_at = recorded_at - interval '1 hour' WHERE recorded_at > now() - interval '1 hour'")
    began = time.monotonic()
    said = words_of(operator.publish().succeeded())
    seconds = time.monotonic() - began
    intruder.host.must("sh", "-c", f"touch {swapping}; rm -rf {OUTBOX}/*-*")
    return Round(leased, said, seconds, operator.incidents(), {label: operator.state(each) for label, each in leased.items()})


def _record_all(intruder: Intruder, leased: Mapping[str, Leased], contents: Mapping[str, bytes]) -> None:
    for label, (deed, _) in DEEDS.items():
        assert intruder.record(leased[label], contents[label]) == "recorded"
        deed(intruder, leased[label], contents[label])
    for label in ("honest", "again", "swapping"):
        assert intruder.record(leased[label], contents[label]) == "recorded"
        intruder.put(leased[label], contents[label])
    # Its own key, under a wheel's name and with its true hash: no wheel.
    key = intruder.host.must("cat", "/etc/piwheels-builder/client.key").encode()
    assert intruder.record(leased["key"], key) == "recorded"
    path = intruder.put(leased["key"], b"")
    intruder.host.must("sh", "-c", f"install -m 0644 /etc/piwheels-builder/client.key {BUILDER}/key && ln -f {BUILDER}/key {path}")
    bomb, plain = gzip.compress(bytes(300 * 2**20), mtime=0), b"no gzip at all"
    for label, log in (("bomb", bomb), ("not-gzip", plain)):
        assert intruder.record(leased[label], outcome="build_error", error="it fails", log_size=len(log)) == "recorded"
        intruder.put(leased[label], log, "log.gz")


def _swap_all_the_time(intruder: Intruder, leased: Leased, recorded: bytes, other: bytes) -> str:
    """Until the file exists whose path is returned."""
    path, end = f"{OUTBOX}/{leased.directory}/{leased.wheel}", "/run/end-of-swapping"
    intruder.host.must("rm", "-f", end)
    for name, content in (("recorded", recorded), ("other", other)):
        intruder.shell(f"base64 -d > /run/{name}", content)
    loop = f"while [ ! -e {end} ]; do cp /run/other {path}; cp /run/recorded {path}; done"
    intruder.host.must("systemd-run", "--quiet", "--collect", "sh", "-c", loop)
    return end


def test_a_round_goes_on_whatever_lies_in_an_outbox(round_of_deeds: Round, operator: Operator) -> None:
    honest = round_of_deeds.leased["honest"]
    assert operator.files(honest.project) == [honest.wheel]
    assert round_of_deeds.seconds < 120


@pytest.mark.parametrize("label", DEEDS)
def test_what_is_no_wheel_as_recorded_is_not_published(round_of_deeds: Round, operator: Operator, label: str) -> None:
    leased = round_of_deeds.leased[label]
    assert operator.files(leased.project) == []
    # Lost, and queued again: the release cannot help it.
    assert round_of_deeds.attempts[label] == "pending"
    told = DEEDS[label][1]
    assert told is None or told.format(wheel=leased.wheel) in round_of_deeds.incidents


def test_its_own_key_is_no_wheel(round_of_deeds: Round, operator: Operator) -> None:
    leased = round_of_deeds.leased["key"]
    assert (operator.files(leased.project), round_of_deeds.attempts["key"]) == ([], "failed")
    assert any(what.startswith("refused: ") and leased.wheel in what for what in round_of_deeds.incidents)


def test_bytes_that_change_all_the_time_are_published_as_recorded_or_not_at_all(round_of_deeds: Round, operator: Operator) -> None:
    leased = round_of_deeds.leased["swapping"]
    recorded = operator.psql(f"SELECT sha256 FROM wheel WHERE build_id = {leased.build_id}").strip()
    files = operator.files(leased.project)
    assert [operator.sha256(leased.project, name) for name in files] in ([], [recorded])
    assert files or f"{leased.wheel} has other bytes than recorded" in round_of_deeds.incidents


def test_what_is_published_keeps_its_bytes_for_ever(round_of_deeds: Round, operator: Operator) -> None:
    leased = round_of_deeds.leased["again"]
    tagged = leased.wheel.replace("-1.0-", "-1.0-1-")
    assert operator.files(leased.project) == sorted([tagged, leased.wheel])
    published = dict(
        line.split("|")
        for line in operator.psql(
            f"SELECT filename, sha256 FROM wheel WHERE build_id = {leased.build_id} AND published_at IS NOT NULL"
        ).split()
    )
    assert {name: operator.sha256(leased.project, name) for name in published} == published
    assert len(set(published.values())) == 2


@pytest.mark.parametrize(("label", "why"), [("bomb", "bytes unpacked"), ("not-gzip", "it is not gzip")])
def test_a_log_that_is_none_is_lost_and_told(round_of_deeds: Round, operator: Operator, label: str, why: str) -> None:
    leased = round_of_deeds.leased[label]
    assert any(leased.directory in what and why in what for what in round_of_deeds.incidents)
    kept = f"/var/lib/piwheels-builder/published/logs/{leased.project[:2]}/{leased.project}"
    assert operator.index.run("ls", kept).output == ""


def test_nothing_of_it_gathers_on_the_index_host(round_of_deeds: Round, operator: Operator) -> None:
    assert round_of_deeds.said
    operator.make_amends()
    operator.publish().succeeded()
    found = operator.index.run("find", INCOMING, "-mindepth", "1", "!", "-name", ".*").output
    assert found == ""
    assert re.fullmatch(r"\d+", operator.index.must("sh", "-c", f"du -s {INCOMING} | cut -f1").strip())
    assert int(operator.index.must("sh", "-c", f"du -s {INCOMING} | cut -f1")) < 100


#: What it lets the index host's rsync speak with in place of rrsync.
SERVERS = {
    "other files": "cd / && rsync --server --sender -logDtpRe.LsfxCIvu . /etc/passwd /root/.ssh/authorized_keys",
    "words for a terminal": "printf '\\\\033]0;owned\\\\007\\\\033[2J' >&2; exit 1",
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_that_is_not_ours_sends_nothing_that_stays(
    intruder: Intruder, operator: Operator, tmp_path: Path, server: str
) -> None:
    (leased,) = operator.lease_new("served")
    content = wheel_of(leased, tmp_path)
    assert intruder.record(leased, content) == "recorded"
    intruder.put(leased, content)
    keys = "/var/lib/piwheels-builder/collector/.ssh/authorized_keys"
    intruder.host.must("sh", "-c", f"cp -p {keys} {keys}.kept")
    intruder.shell("base64 -d > /run/server", SERVERS[server].replace("\\\\", "\\").encode())
    try:
        intruder.host.must("sed", "-i", 's#^command="[^"]*"#command="sh /run/server"#', keys)
        said = words_of(operator.publish())
    finally:
        intruder.host.must("mv", f"{keys}.kept", keys)
    assert "bookworm" in said
    assert "\x1b" not in said
    assert operator.files(leased.project) == []
    assert operator.index.run("find", "/var/lib/piwheels-builder", "-name", "passwd", "-o", "-name", "authorized_keys").output == ""
