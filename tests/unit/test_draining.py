"""Draining: nothing new begins, what runs ends, and whoever waits is told when all is recorded."""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from piwheels_builder.builder.attempt import Attempt
from piwheels_builder.builder.draining import drain, reason_to_drain, undrain, wait_until_drained, what_is_left
from piwheels_builder.builder.outbox import Outbox
from piwheels_builder.builder.service import Service
from piwheels_builder.builder.spool import Spool, SpooledBuild, write_batch
from piwheels_builder.cli import main
from piwheels_builder.errors import BadInput, StillBusy
from piwheels_builder.queue.batch import LeasedBuild
from tests.support.builders import a_batch, an_attempt, builder_settings, eventually, leased_build, make_wheel, serving

SETTINGS = """
name: pi1
database: "host=/nonexistent"
state_dir: {}
pythons: {{cp311: /usr/bin/python3.11}}
architecture: armv7l
os_release: bookworm
"""


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """As a service that has run here left it."""
    with serving(Service(builder_settings(tmp_path), make_wheel)):
        pass
    return tmp_path


@pytest.fixture
def settings_file(state_dir: Path) -> Iterator[str]:
    path = state_dir / "builder.yml"
    path.write_text(SETTINGS.format(state_dir))
    yield str(path)


def status(state_dir: Path) -> dict[str, object]:
    return dict(json.loads((state_dir / "status.json").read_text()))


def test_nothing_begins_while_it_drains_and_it_goes_on_afterwards(state_dir: Path) -> None:
    outbox = Outbox(state_dir / "outbox")
    drain(state_dir, "a new\nkernel")
    write_batch(state_dir / "spool", a_batch(1))
    service = Service(builder_settings(state_dir), make_wheel)
    with serving(service):
        eventually(lambda: status(state_dir)["spool"] == 1)
        assert status(state_dir)["draining"] == "a new kernel"
        assert not service._has_room()
        assert not any((state_dir / "spool/begun").iterdir())
        assert undrain(state_dir)
        eventually(outbox.entries)
        eventually(lambda: status(state_dir)["draining"] is None)
        assert service._has_room()


def test_a_running_build_ends(state_dir: Path) -> None:
    begun, end = threading.Event(), threading.Event()

    def wait(leased: LeasedBuild, lease_id: UUID, slot: int, delivery: Path) -> Attempt:
        begun.set()
        assert end.wait(10)
        return make_wheel(leased, lease_id, slot, delivery)

    outbox = Outbox(state_dir / "outbox")
    with serving(Service(builder_settings(state_dir), wait)):
        write_batch(state_dir / "spool", a_batch(1, 2))
        assert begun.wait(10)
        drain(state_dir, "x")
        eventually(lambda: status(state_dir)["draining"])
        left = what_is_left(state_dir)
        assert (left.running, left.unrecorded, left.anything) == (1, 0, True)
        end.set()
        eventually(lambda: what_is_left(state_dir).running == 0)
        left = what_is_left(state_dir)
        assert (left.unrecorded, left.anything) == (1, True)
        assert "cannot be reached" in str(left)
        outbox.mark_recorded(*outbox.entries())
        assert not what_is_left(state_dir).anything
    assert [entry.build_id for entry in outbox.entries()] == [1]


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "no reason given"), (b"\xff\x1b[31mred\n\n", "red"), (b"x" * 10**6, "x" * 300)]
)
def test_whatever_the_file_holds_is_a_reason(tmp_path: Path, content: bytes, said: str) -> None:
    assert reason_to_drain(tmp_path) is None
    (tmp_path / "draining").write_bytes(content)
    assert str(reason_to_drain(tmp_path)).endswith(said)


def test_whatever_lies_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "draining").mkdir()
    assert reason_to_drain(tmp_path)
    assert undrain(tmp_path)
    assert not undrain(tmp_path)


def test_the_index_host_drains_by_its_own_directory_and_has_nothing_read_for_it(tmp_path: Path) -> None:
    ours, secret = tmp_path / "spool/draining", tmp_path / "secret"
    ours.parent.mkdir()
    secret.write_text("a key")
    ours.symlink_to(secret)
    assert "key" not in str(reason_to_drain(tmp_path))
    assert undrain(tmp_path)
    assert secret.exists()
    # Nobody writes into it: whoever waits, waits for ever.
    os.mkfifo(ours)
    assert reason_to_drain(tmp_path) == "no reason given"
    drain(tmp_path, "works")
    assert reason_to_drain(tmp_path) == "works"
    assert undrain(tmp_path)
    assert reason_to_drain(tmp_path) is None


def test_a_service_that_has_not_noticed_is_waited_for(state_dir: Path) -> None:
    with serving(Service(builder_settings(state_dir), make_wheel)):
        eventually(lambda: what_is_left(state_dir).served)
        assert what_is_left(state_dir).anything
        assert "not noticed" in str(what_is_left(state_dir))


def test_without_a_service_what_it_left_counts(state_dir: Path) -> None:
    lines: list[str] = []
    drain(state_dir, "x")
    wait_until_drained(state_dir, 0, lines.append)
    assert lines == []
    build = SpooledBuild(UUID(int=1), leased_build(1))
    Spool(state_dir / "spool", builder_settings(state_dir)).begin(build.interrupted())
    outbox = Outbox(state_dir / "outbox")
    with pytest.raises(StillBusy, match="does not run"):
        wait_until_drained(state_dir, 0, lines.append)
    outbox.prepare(build.name)
    entry = outbox.deliver(an_attempt(build))
    with pytest.raises(StillBusy, match="1 results"):
        wait_until_drained(state_dir, 0, lines.append)
    outbox.mark_recorded(entry)
    wait_until_drained(state_dir, 0, lines.append)
    assert len(lines) == 2


def test_looking_does_not_keep_a_service_from_starting(state_dir: Path) -> None:
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            what_is_left(state_dir)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(5):
            with serving(Service(builder_settings(state_dir), make_wheel)):
                eventually(lambda: what_is_left(state_dir).served)
    finally:
        stop.set()
        looking.join()


def test_the_commands(state_dir: Path, settings_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drain", "--reason", "an upgrade", "--wait", "5", "--settings", settings_file]) == 0
    assert "drained" in capsys.readouterr().out
    assert reason_to_drain(state_dir) == "an upgrade"
    Spool(state_dir / "spool", builder_settings(state_dir)).begin(SpooledBuild(UUID(int=1), leased_build(1)).interrupted())
    assert main(["drain", "--reason", "an upgrade", "--wait", "0.2", "--settings", settings_file]) == 75
    assert "goes on draining" in capsys.readouterr().err
    assert reason_to_drain(state_dir) == "an upgrade"
    assert main(["undrain", "--settings", settings_file]) == 0
    assert reason_to_drain(state_dir) is None


def test_a_reason_is_asked_for(state_dir: Path) -> None:
    with pytest.raises(BadInput, match="say why"):
        drain(state_dir, " ")


def test_a_directory_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="as the builder's user"):
        drain(tmp_path / "none", "x")
    with pytest.raises(BadInput, match="as the builder's user"):
        what_is_left(tmp_path / "none")
