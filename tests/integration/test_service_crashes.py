"""A real service process that is killed: nothing is lost, nothing doubled, nothing booked on a release."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import yaml

from piwheels_builder.builder.outbox import Outbox
from piwheels_builder.builder.spool import write_batch
from piwheels_builder.errors import BuilderRunning
from tests.support.builders import eventually, lease_everything
from tests.support.fleet import Fleet

ROOT = Path(__file__).parents[2]


@pytest.fixture
def state_dir(fleet: Fleet, tmp_path: Path) -> Path:
    (tmp_path / "builder.yml").write_text(
        yaml.safe_dump(
            {
                "name": "pi1",
                "database": fleet.database.conninfo("builder_pi1"),
                "state_dir": str(tmp_path),
                "pythons": {"cp311": sys.executable},
                "architecture": "armv7l",
                "os_release": "bookworm",
                "heartbeat_seconds": 0.2,
                # Read only where root runs the tests.
                "first_build_uid": 64000,
            }
        )
    )
    (tmp_path / "spool").mkdir()
    return tmp_path


@contextmanager
def builder_process(state_dir: Path, *modes: str) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "tests.support.builder_process", str(state_dir / "builder.yml"), *modes]
    with (state_dir / "service.log").open("ab") as log, subprocess.Popen(command, cwd=ROOT, stderr=log) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
            process.kill()


def deliver(fleet: Fleet, state_dir: Path) -> None:
    assert write_batch(state_dir / "spool", lease_everything(fleet))


def building(state_dir: Path) -> int:
    """Wait until a build runs; its child's process id."""
    mark = state_dir / "building"
    eventually(lambda: mark.exists() and mark.read_text())
    pid = int(mark.read_text())
    mark.unlink()
    return pid


def attempts(fleet: Fleet) -> list[str]:
    return [outcome for (outcome,) in fleet.ask("SELECT outcome::text FROM attempt ORDER BY attempt_id")]


def test_a_service_killed_in_the_middle_of_a_build_is_one_killed_attempt_and_the_build_is_tried_again(
    fleet: Fleet, state_dir: Path
) -> None:
    build_id = fleet.want("demo")
    deliver(fleet, state_dir)
    with builder_process(state_dir, "sleep") as service:
        child = building(state_dir)
        eventually(lambda: fleet.state(build_id) == "building")
        service.send_signal(signal.SIGKILL)
        service.wait(10)
    # A sandbox dies with the service that started it; this child has none.
    psutil.Process(child).kill()
    assert (state_dir / "area" / "0").exists()
    with builder_process(state_dir):
        eventually(lambda: attempts(fleet) == ["killed"])
        assert fleet.state(build_id) == "pending"
        assert list((state_dir / "area").iterdir()) == []
        # The database chose to wait a while before the next try.
        fleet.ask("UPDATE queue SET not_before = '-infinity'")
        deliver(fleet, state_dir)
        eventually(lambda: fleet.state(build_id) == "built")
    assert attempts(fleet) == ["killed", "built"]
    assert list((state_dir / "spool" / "begun").iterdir()) == []


def test_a_service_killed_again_and_again_never_repeats_a_build_by_itself(fleet: Fleet, state_dir: Path) -> None:
    for number in range(3):
        fleet.want(f"project{number}")
    deliver(fleet, state_dir)
    for _ in range(3):
        with builder_process(state_dir, "sleep") as service:
            child = building(state_dir)
            service.send_signal(signal.SIGKILL)
            service.wait(10)
        psutil.Process(child).kill()
    with builder_process(state_dir):
        eventually(lambda: attempts(fleet) == ["killed"] * 3)
        eventually(lambda: Outbox(state_dir / "outbox").entries() == [])
    assert fleet.ask("SELECT count(DISTINCT build_id) FROM attempt") == [(3,)]


def test_sigterm_ends_builds_at_once_and_books_nothing(fleet: Fleet, state_dir: Path) -> None:
    build_id = fleet.want("demo")
    deliver(fleet, state_dir)
    with builder_process(state_dir, "sleep") as service:
        child = building(state_dir)
        service.send_signal(signal.SIGTERM)
        assert service.wait(10) == 0
    assert not psutil.pid_exists(child)
    assert Outbox(state_dir / "outbox").entries() == []
    assert list((state_dir / "spool" / "begun").iterdir()) == []
    with builder_process(state_dir):
        eventually(lambda: fleet.state(build_id) == "built")
    assert attempts(fleet) == ["built"]


def test_a_second_service_ends_with_an_error_and_disturbs_nothing(fleet: Fleet, state_dir: Path) -> None:
    fleet.want("demo")
    deliver(fleet, state_dir)
    command = [sys.executable, "-m", "piwheels_builder.cli", "serve", "--settings", str(state_dir / "builder.yml")]
    with builder_process(state_dir, "sleep") as service:
        child = building(state_dir)
        second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert second.returncode == BuilderRunning.exit_code
        assert f"another builder service uses {state_dir}" in second.stderr
        assert "Traceback" not in second.stderr
        assert psutil.pid_exists(child)
        assert service.poll() is None
        psutil.Process(child).kill()
        # The one build that was running ends by itself, as its release's own fault.
        eventually(lambda: attempts(fleet) == ["build_error"])


def test_garbage_in_the_spool_stops_nothing(fleet: Fleet, state_dir: Path) -> None:
    build_id = fleet.want("demo")
    (state_dir / "spool" / "garbage.json").write_bytes(b"\0\xff{")
    with builder_process(state_dir):
        deliver(fleet, state_dir)
        eventually(lambda: fleet.state(build_id) == "built")
    assert (state_dir / "spool" / "refused" / "garbage.json").exists()
    assert "garbage.json is set aside" in (state_dir / "service.log").read_text()
