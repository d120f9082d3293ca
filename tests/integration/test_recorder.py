"""What the recorder tells the database, column by column."""

from dataclasses import replace
from pathlib import Path

import pytest

from piwheels_builder.builder.outbox import Outbox
from piwheels_builder.builder.record import Recorder
from piwheels_builder.builder.spool import Spool, SpooledBuild
from piwheels_builder.states import Outcome
from tests.support.builders import an_attempt, builder_settings, lease_everything
from tests.support.fleet import Fleet


def test_an_attempt_is_recorded_with_all_it_knows(fleet: Fleet, tmp_path: Path) -> None:
    fleet.want("demo")
    batch = lease_everything(fleet)
    spooled = SpooledBuild(batch.lease_id, batch.builds[0])
    settings = builder_settings(tmp_path, database=fleet.database.conninfo("builder_pi1"))
    spool, outbox = Spool(tmp_path / "spool", settings), Outbox(tmp_path / "outbox")
    attempt = replace(
        an_attempt(spooled, Outcome.DISK_LIMIT),
        peak_memory=123,
        error_line="too many files",
        mechanism="watcher",
        missing="a \0 header",
        toolchain="gcc 12.2.0; make 4.3",
    )
    outbox.prepare(spooled.name)
    outbox.deliver(attempt)
    Recorder(settings, spool, outbox).speak()
    told = fleet.ask("SELECT outcome::text, peak_memory, error_line, mechanism, missing, toolchain FROM attempt")
    assert told == [("disk_limit", 123, "too many files", "watcher", "a \N{REPLACEMENT CHARACTER} header", "gcc 12.2.0; make 4.3")]


@pytest.mark.parametrize("room", [True, False])
def test_a_heartbeat_says_whether_there_is_room(fleet: Fleet, tmp_path: Path, room: bool) -> None:
    fleet.want("demo")
    settings = builder_settings(tmp_path, database=fleet.database.conninfo("builder_pi1"))
    Recorder(settings, Spool(tmp_path / "spool", settings), Outbox(tmp_path / "outbox"), has_room=lambda: room).speak()
    assert (fleet.lease("pi1") is not None) == room
