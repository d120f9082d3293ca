"""kill -9 of the real service process at any moment, again and again: in the end every build is there once, and whole."""

import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml

from piwheels_builder.builder.in_memory import memory_directory
from piwheels_builder.builder.outbox import Outbox
from piwheels_builder.settings import BuilderSettings
from tests.faults.faulty_server import Answer, faulty_server
from tests.faults.whole_way import (
    OF_ITS_OWN,
    WARMABLE,
    Way,
    areas,
    check_records,
    here,
    leftovers,
    offer_backend,
    offered,
    processes_of,
    real_settings,
    until,
)
from tests.support.builders import eventually, make_wheel
from tests.support.chaos import LONG
from tests.support.fleet import Fleet
from tests.support.simple_index import serving
from tests.support.upstream import serve_upstream

ROOT = Path(__file__).parents[2]
KILLS = {"instant": 100 if LONG else 6, "real": 100 if LONG else 6}
#: How long a service lives at most, in seconds: longer than its first builds take.
LONGEST = {"instant": 0.6, "real": 1.2}
#: Builds that wait while it is killed.
AT_ONCE = 6


@pytest.fixture
def way(fleet: Fleet, tmp_path: Path) -> Iterator[Way]:
    fleet.add_builder("here", here())
    (tmp_path / "spool").mkdir()
    offer_backend(tmp_path / "index")
    with serve_upstream() as upstream, serving(tmp_path / "index") as index:
        settings = real_settings(tmp_path, fleet, slots=2, upstream=index)
        # Half of them in children of warm parents, half in interpreters of their own.
        systems = (WARMABLE, OF_ITS_OWN)
        yield Way(fleet, settings, make_wheel, lambda project: offered(upstream, project, systems[int(project[-1]) % 2]))
    shutil.rmtree(memory_directory(tmp_path), ignore_errors=True)


@contextmanager
def a_service(settings: BuilderSettings, kind: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The service in a process of its own, once it says that it is ready."""
    state_dir = settings.state_dir
    fields = {name: value for name, value in asdict(settings).items() if value is not None}
    fields |= {"state_dir": str(state_dir), "pythons": {abi: str(path) for abi, path in settings.pythons.items()}}
    (state_dir / "builder.yml").write_text(yaml.safe_dump(fields))
    address = f"\0fleet-{os.getpid()}-{random.random()}"
    command = [sys.executable, "-m", "tests.faults.served", str(state_dir / "builder.yml"), kind]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening, (state_dir / "service.log").open("ab") as log:
        listening.bind(address)
        listening.settimeout(60)
        with subprocess.Popen(command, cwd=ROOT, stderr=log, env={**os.environ, "NOTIFY_SOCKET": f"@{address[1:]}"}) as process:
            try:
                assert listening.recv(100) == b"READY=1"
                yield process
            finally:
                process.send_signal(signal.SIGKILL)


def keep_supplied(way: Way) -> None:
    """A few builds more, and all that can be leased delivered."""
    missing = AT_ONCE - way.fleet.ask("SELECT count(*) FROM queue")[0][0]
    for _ in range(missing):
        way.fleet.want(f"project{len(way.fleet.releases)}", here())
    batch = way.lease()
    if batch:
        way.deliver(batch)


def check_wheels(way: Way) -> int:
    """Every wheel that the database knows of lies in the outbox with its bytes. Returns how many."""
    recorded = way.fleet.ask(
        "SELECT lease_id || '-' || attempt.build_id, filename, sha256 FROM wheel JOIN attempt USING (attempt_id)"
    )
    for directory, filename, sha256 in recorded:
        wheel = way.settings.state_dir / "outbox" / directory / filename
        assert hashlib.sha256(wheel.read_bytes()).hexdigest() == sha256
    return len(recorded)


@pytest.mark.parametrize("kind", ["instant", "real"])
def test_a_service_killed_at_any_moment(way: Way, kind: str) -> None:
    chance, state_dir = random.Random(20), way.settings.state_dir
    for _ in range(KILLS[kind]):
        keep_supplied(way)
        with a_service(way.settings, kind) as service:
            # Most of what there is to interrupt happens at once.
            time.sleep(chance.choice((0.0, chance.uniform(0, 0.1), chance.uniform(0, LONGEST[kind]))))
            service.send_signal(signal.SIGKILL)
            service.wait(10)
        eventually(lambda: processes_of(state_dir) == [], 10)
    with a_service(way.settings, kind) as service:
        eventually(lambda: everything_is_built(way), 60)
        assert until(lambda: leftovers(state_dir) == [], 10), leftovers(state_dir)
        service.send_signal(signal.SIGTERM)
        assert service.wait(20) == 0
    eventually(lambda: processes_of(state_dir) == [], 10)
    assert areas(state_dir) == []
    attempts = check_records(way.fleet)
    built = check_wheels(way)
    ((wanted,),) = way.fleet.ask("SELECT count(*) FROM build")
    assert built == wanted
    entries = Outbox(state_dir / "outbox").entries()
    assert len(entries) == built
    fresh = sum("an interpreter of its own" in (entry.path / "log.txt").read_text() for entry in entries)
    assert kind == "instant" or 0 < fresh < built
    outcomes = Counter(outcome for (outcome,) in way.fleet.ask("SELECT outcome::text FROM attempt"))
    assert outcomes["built"] == built
    print(f"{KILLS[kind]} kills, {kind} builds: {wanted} builds, {attempts} attempts: {dict(outcomes)}; {fresh} built fresh")


def test_what_a_killed_service_was_asking_upstream_for_ends_with_it(way: Way) -> None:
    """uv runs outside of the sandbox, and would wait for its server long after the service."""
    state_dir = way.settings.state_dir
    pyproject = '[build-system]\nrequires = ["backend"]\nbuild-backend = "backend"\n'
    with faulty_server() as server, serve_upstream() as upstream:
        server.answers["/simple/backend/"] = [Answer(b" " * 10_000, delay=0.1)]
        settings = replace(way.settings, upstream=server.url("/simple/"))
        one = replace(way, settings=settings, sdist=lambda project: offered(upstream, project, pyproject))
        keep_supplied(one)
        with a_service(settings, "real") as service:
            eventually(lambda: server.asked > 0)
            assert processes_of(state_dir) != []
            service.send_signal(signal.SIGKILL)
            service.wait(10)
        eventually(lambda: processes_of(state_dir) == [], 5)


def everything_is_built(way: Way) -> bool:
    batch = way.lease()
    if batch:
        way.deliver(batch)
    return way.fleet.ask("SELECT 1 FROM build WHERE state <> 'built'") == []
