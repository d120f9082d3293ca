"""The relay: builders get what a private upstream has, and no credentials for it. Real TLS, database, uv and builds."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from packaging.utils import canonicalize_name

from piwheels_builder.builder import relay as client
from piwheels_builder.builder.build import build
from piwheels_builder.builder.download import download
from piwheels_builder.builder.ending import BuildEnded
from piwheels_builder.builder.interpreter import describe
from piwheels_builder.builder.trial import this_target
from piwheels_builder.catalogue.listed_files import ListedFiles
from piwheels_builder.catalogue.own_sdists import OwnSdists
from piwheels_builder.catalogue.upstream import UpstreamIndex
from piwheels_builder.db.connect import connected
from piwheels_builder.db.embedded import EmbeddedDatabase
from piwheels_builder.queue.batch import LeasedBuild, Sdist
from piwheels_builder.queue.members import Identity, register_builder, serial_of
from piwheels_builder.relay import doorkeeper, server
from piwheels_builder.relay.doorkeeper import Doorkeeper
from piwheels_builder.relay.offers import Offers
from piwheels_builder.relay.server import Relay, tls_context
from piwheels_builder.signing import builder, login
from piwheels_builder.states import Outcome
from tests.support.fleet import BOOKWORM, Fleet
from tests.support.keys import Keys
from tests.support.published import free_port
from tests.support.sdists import Built, Yard, make_sdist, make_yard
from tests.support.upstream import Upstream, serve_upstream
from tests.support.wheelmaking import make_wheel

LOGIN = "reader:s3cret"
#: Its backend lies in the sdist itself; what it requires is upstream's.
SDIST = {
    "demo-1.0/pyproject.toml": '[build-system]\nrequires = ["needed"]\nbuild-backend = "backend"\nbackend-path = ["."]\n',
    "demo-1.0/backend.py": """
import base64, hashlib, needed, zipfile
FILES = {
    "demo.py": f"ANSWER = {needed.ANSWER}",
    "demo-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: demo\\nVersion: 1.0\\n",
    "demo-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
}
def build_wheel(directory, *_):
    with zipfile.ZipFile(f"{directory}/demo-1.0-py3-none-any.whl", "w") as wheel:
        record = "demo-1.0.dist-info/RECORD,,\\n"
        for name, text in FILES.items():
            wheel.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
            record += f"{name},sha256={digest},{len(text)}\\n"
        wheel.writestr("demo-1.0.dist-info/RECORD", record)
    return "demo-1.0-py3-none-any.whl"
""",
    "demo-1.0/PKG-INFO": "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
}


@dataclass
class Scene:
    """A private upstream, a relay in front of it, and a builder with a certificate."""

    upstream: Upstream
    keys: Keys
    certificate: Path
    fleet: Fleet
    url: str
    place: Path

    @property
    def relay(self) -> client.Relay:
        return client.Relay(self.url, self.keys.authority.certificate_path, self.certificate, self.certificate.with_suffix(".key"))

    def get(self, path: str, certificate: Path | None = None, **headers: str) -> requests.Response:
        own = certificate or self.certificate
        cert = (str(own), str(own.with_suffix(".key")))
        trusted = str(self.keys.authority.certificate_path)
        return requests.get(self.url + path, cert=cert, verify=trusted, headers=headers, timeout=10)

    def sdist(self) -> Sdist:
        (listed,) = self.upstream.projects["demo"]["files"]
        place = self.upstream.url.replace("/simple/", listed["url"])
        return Sdist(listed["filename"], place, listed["hashes"]["sha256"], listed["size"], None)

    def build(self, yard: Yard) -> Built:
        delivery = self.place / str(uuid4())
        delivery.mkdir()
        target = this_target(describe(Path(sys.executable)))
        workshop = replace(yard.workshop, relay=self.relay, upstream="http://upstream.invalid/simple/")
        return Built(build(LeasedBuild(7, "demo", "1", target, self.sdist(), 1.0), uuid4(), workshop, delivery), delivery)


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    with serve_upstream() as upstream:
        upstream.login = LOGIN
        upstream.add_file("demo", "demo-1.0.tar.gz", make_sdist(tmp_path / "demo-1.0.tar.gz", SDIST).read_bytes())
        wheel = make_wheel(tmp_path, "needed", content={"needed.py": b"ANSWER = 42\n"})
        upstream.add_file("needed", wheel.name, wheel.read_bytes())
        yield upstream


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "keys", ["127.0.0.1"])


@pytest.fixture
def own(tmp_path: Path) -> OwnSdists:
    directory = tmp_path / "own"
    directory.mkdir()
    make_sdist(directory / "ours-1.0.tar.gz", {"ours-1.0/PKG-INFO": "Metadata-Version: 2.1\nName: ours\nVersion: 1.0\n"})
    return OwnSdists.read(str(directory), "https://index.invalid", ["ours"])


@pytest.fixture
def scene(upstream: Upstream, keys: Keys, own: OwnSdists, database: EmbeddedDatabase, tmp_path: Path) -> Iterator[Scene]:
    fleet = Fleet(database)
    certificate = keys.certify(builder("pi1"))
    with connected(fleet.database.conninfo("piwheels_owner")) as connection:
        identity = Identity(certificate_serial=serial_of(certificate.read_text()))
        register_builder(connection, "pi1", 8192, 1, [BOOKWORM], identity=identity)
    tls = tls_context(keys.server.certificate_path, keys.server.key_path, keys.authority.certificate_path)
    keeper = Doorkeeper(fleet.database.conninfo("piwheels_reader"))
    with (
        UpstreamIndex(upstream.url.replace("://", f"://{LOGIN}@"), backoff_seconds=0) as index,
        Relay(("127.0.0.1", 0), tls, keeper, Offers(index, own), ListedFiles(index, 4, 0)) as serving,
    ):
        thread = threading.Thread(target=serving.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield Scene(upstream, keys, certificate, fleet, f"https://127.0.0.1:{serving.server_address[1]}", tmp_path)
        finally:
            serving.shutdown()
            thread.join()


def test_a_builder_without_a_login_builds_what_a_private_upstream_has(scene: Scene, tmp_path: Path) -> None:
    yard = make_yard(tmp_path / "yard")
    built = scene.build(yard)
    assert built.wheel.name == "demo-1.0-py3-none-any.whl"
    asked = [path for path, _ in scene.upstream.requests]
    assert asked[0] == "/simple/demo/"
    assert {"/files/demo/demo-1.0.tar.gz", "/simple/needed/"} <= set(asked)
    # What the builder keeps of it is its own certificate, for itself alone.
    kept = [path for path in (tmp_path / "yard").rglob("*") if path.is_file()]
    assert not [path for path in kept if b"s3cret" in path.read_bytes()]
    assert "s3cret" not in built.log
    (both,) = (path for path in kept if path.name == "relay.pem")
    assert both.stat().st_mode & 0o777 == 0o600


def test_a_login_that_upstream_refuses_is_no_fault_of_the_release(scene: Scene, tmp_path: Path) -> None:
    yard = make_yard(tmp_path / "yard")
    scene.upstream.login = "another:login"
    with pytest.raises(BuildEnded) as ended:
        download(scene.relay.relayed(scene.sdist(), "demo"), tmp_path / "fetched", lambda _: None, scene.relay)
    assert ended.value.outcome is Outcome.NETWORK_AWAY
    # The sdist is here, and what it requires is refused.
    (sdist,) = tmp_path.glob("demo-1.0.tar.gz")
    built = yard.build_file(sdist, relay=scene.relay)
    assert built.attempt.outcome is Outcome.NETWORK_AWAY, built.log


def test_who_has_no_certificate_of_the_fleets_gets_no_word(scene: Scene) -> None:
    with pytest.raises(requests.exceptions.RequestException):
        requests.get(f"{scene.url}/simple/demo/", verify=str(scene.keys.authority.certificate_path), timeout=10)
    assert scene.upstream.requests == []


def test_a_certificate_of_the_fleets_that_is_no_builders_is_turned_away(scene: Scene) -> None:
    for stranger in (scene.keys.certify(login("piwheels_owner", "hub")), scene.keys.certify(builder("never-registered"))):
        answer = scene.get("/simple/demo/", stranger)
        assert (answer.status_code, "provision.yml" in answer.text) == (503, True)
        assert "Retry-After" in answer.headers
    assert scene.upstream.requests == []


@pytest.mark.parametrize("standing", ["quarantined", "retired"])
def test_a_builder_that_is_believed_no_more_gets_nothing_more(scene: Scene, standing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorkeeper, "REMEMBERED_SECONDS", 0.0)
    assert scene.get("/simple/demo/").status_code == 200
    scene.fleet.ask("UPDATE builder SET standing = %s, standing_reason = 'a test'", standing)
    assert scene.get("/simple/demo/").status_code == 503
    assert scene.get("/files/demo/demo-1.0.tar.gz").status_code == 503


def test_an_answer_of_the_database_is_remembered_for_a_while(database: EmbeddedDatabase) -> None:
    fleet, now = Fleet(database), [0.0]
    fleet.add_builder("pi1")
    fleet.ask("UPDATE builder SET certificate_serial = 5")
    keeper = Doorkeeper(fleet.database.conninfo("piwheels_reader"), lambda: now[0])
    assert (keeper.admitted(5), keeper.admitted(6)) == ("pi1", None)
    fleet.ask("UPDATE builder SET certificate_serial = 6")
    assert (keeper.admitted(5), keeper.admitted(6)) == ("pi1", None)
    now[0] = doorkeeper.REMEMBERED_SECONDS
    assert (keeper.admitted(5), keeper.admitted(6)) == (None, "pi1")


def test_nothing_is_had_but_what_stands_on_a_page(scene: Scene) -> None:
    scene.upstream.add_file("secret", "other-1.0.tar.gz")
    for path in (
        "/files/demo/other-1.0.tar.gz",
        "/files/demo/..%2f..%2fsimple%2f",
        "/files/demo/",
        "/simple/",
        "/simple/demo/extra",
        "/",
        "/simple/%2e%2e/",
        "/files/secret%2fother-1.0.tar.gz/x",
    ):
        assert scene.get(path).status_code == 404, path
    assert {path for path, _ in scene.upstream.requests} <= {"/simple/demo/", "/simple/-/"}


def test_a_page_says_what_upstreams_says_with_other_links(scene: Scene) -> None:
    scene.upstream.change_file("demo", "demo-1.0.tar.gz", **{"requires-python": ">=3.8", "yanked": "broken"})
    page = scene.get("/simple/Demo/")
    assert page.headers["Content-Type"] == "application/vnd.pypi.simple.v1+json"
    (file,) = page.json()["files"]
    (theirs,) = scene.upstream.projects["demo"]["files"]
    for key in ("filename", "hashes", "size", "requires-python", "yanked", "upload-time"):
        assert file[key] == theirs[key]
    assert file["url"] == "../../files/demo/demo-1.0.tar.gz"
    assert scene.get("/simple/unknown/").status_code == 404


def test_parts_and_metadata_of_a_wheel_come_too(scene: Scene) -> None:
    name = "needed-1.0-py3-none-any.whl"
    scene.upstream.add_metadata("needed", name, b"Metadata-Version: 2.1\n")
    (file,) = scene.get("/simple/needed/").json()["files"]
    assert file["core-metadata"] == scene.upstream.projects["needed"]["files"][0]["core-metadata"]
    assert scene.get(f"/files/needed/{name}.metadata").content == b"Metadata-Version: 2.1\n"
    scene.get(f"/files/needed/{name}", Range="bytes=0-9")
    assert scene.upstream.requests[-1][1]["Range"] == "bytes=0-9"


def test_the_login_goes_to_upstreams_own_host_alone(scene: Scene) -> None:
    with serve_upstream() as elsewhere:
        name = elsewhere.add_file("demo", "demo-2.0.tar.gz", b"elsewhere")
        scene.upstream.add_file("demo", name, b"elsewhere", url=elsewhere.url.replace("/simple/", f"/files/demo/{name}"))
        assert scene.get(f"/files/demo/{name}").content == b"elsewhere"
        assert [headers.get("Authorization") for _, headers in elsewhere.requests] == [None]
    expected = "Basic " + base64.b64encode(LOGIN.encode()).decode()
    assert {headers.get("Authorization") for _, headers in scene.upstream.requests} == {expected}


def test_what_breaks_off_upstream_breaks_off_here(scene: Scene, tmp_path: Path) -> None:
    path = "/files/demo/demo-1.0.tar.gz"
    scene.upstream.fail(path, truncated=True)
    sdist = scene.relay.relayed(scene.sdist(), "demo")
    download(sdist, tmp_path / "fetched", lambda _: None, scene.relay)
    assert [asked for asked, _ in scene.upstream.requests].count(path) == 2


def test_own_sdists_come_from_the_index_hosts_disk(scene: Scene, own: OwnSdists) -> None:
    assert own.directory
    (file,) = scene.get("/simple/ours/").json()["files"]
    assert file["url"] == "../../files/ours/ours-1.0.tar.gz"
    assert scene.get("/files/ours/ours-1.0.tar.gz").content == (own.directory / "ours-1.0.tar.gz").read_bytes()
    assert scene.get("/files/ours/ours-2.0.tar.gz").status_code == 404
    assert scene.upstream.requests == []


def test_no_single_host_keeps_the_others_out(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_OF_ONE", 3)
    port = int(scene.url.rpartition(":")[2])
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    time.sleep(0.5)
    with socket.create_connection(("127.0.0.1", port)) as one_more:
        one_more.settimeout(5)
        assert one_more.recv(1) == b""
    # From another address there is room, and here again once they are gone.
    with socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0)) as other:
        other.settimeout(1)
        with pytest.raises(TimeoutError):
            other.recv(1)
    for each in silent:
        each.close()
    time.sleep(0.5)
    assert scene.get("/simple/demo/").status_code == 200


def test_a_database_that_is_away_is_no_refusal(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorkeeper, "REMEMBERED_SECONDS", 0.0)
    monkeypatch.setattr(doorkeeper, "connected", lambda _: connected("host=/nonexistent dbname=none"))
    answer = scene.get("/simple/demo/")
    assert (answer.status_code, "cannot be reached" in answer.text) == (503, True)


def test_pages_are_read_again_after_a_minute(upstream: Upstream, own: OwnSdists) -> None:
    now = [0.0]
    with UpstreamIndex(upstream.url.replace("://", f"://{LOGIN}@")) as index:
        offers = Offers(index, own, lambda: now[0])
        demo = canonicalize_name("demo")
        for moment in (0.0, 50.0, 61.0):
            now[0] = moment
            offers.page(demo)
            offers.file(demo, "demo-1.0.tar.gz")
    assert len(upstream.requests) == 2


def test_the_program_serves_until_it_is_told_to_end(
    upstream: Upstream, keys: Keys, database: EmbeddedDatabase, tmp_path: Path
) -> None:
    fleet = Fleet(database)
    certificate = keys.certify(builder("pi1"))
    fleet.add_builder("pi1")
    fleet.ask("UPDATE builder SET certificate_serial = %s", serial_of(certificate.read_text()))
    settings = {
        "database": {"reader": fleet.database.conninfo("piwheels_reader")},
        "upstream": upstream.url,
    }
    (tmp_path / "fleet.yml").write_text(json.dumps(settings))
    authority, port = keys.authority, free_port()
    command = [sys.executable, "-m", "piwheels_builder.relay", "--settings", tmp_path / "fleet.yml", "--listen", f"[::]:{port}"]
    command += [
        "--certificate",
        keys.server.certificate_path,
        "--key",
        keys.server.key_path,
        "--authority",
        authority.certificate_path,
    ]
    user, _, password = LOGIN.partition(":")
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login {user} password {password}\n")
    (tmp_path / ".netrc").chmod(0o600)
    serving = subprocess.Popen(list(map(str, command)), env={**os.environ, "HOME": str(tmp_path)})
    try:
        _wait_for(port, serving)
        cert = (str(certificate), str(certificate.with_suffix(".key")))
        told = requests.get(f"https://127.0.0.1:{port}/simple/demo/", cert=cert, verify=str(authority.certificate_path), timeout=10)
        # Its login is in ~/.netrc alone.
        assert told.json()["name"] == "demo"
    finally:
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(10) == 0


def _wait_for(port: int, serving: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 20
    while True:
        assert serving.poll() is None
        assert time.monotonic() < deadline
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
