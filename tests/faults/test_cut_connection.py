"""The connection to the database breaks at every message of a conversation, in both directions: what is told is recorded once."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from piwheels_builder.builder.outbox import Outbox
from piwheels_builder.builder.record import Recorder
from piwheels_builder.builder.service import Service
from piwheels_builder.builder.spool import Spool, SpooledBuild, write_batch
from piwheels_builder.errors import DatabaseAway
from piwheels_builder.settings import BuilderSettings
from tests.faults.cut_connection import A_PIECE, NOTHING, Door, door_to
from tests.faults.whole_way import PLENTY, check_records
from tests.support.builders import builder_settings, eventually, lease_everything, make_wheel, serving
from tests.support.chaos import LONG
from tests.support.fleet import Fleet


@pytest.fixture
def door(fleet: Fleet) -> Iterator[Door]:
    with door_to(fleet.database.socket_dir) as door:
        yield door


@pytest.fixture
def settings(fleet: Fleet, door: Door, tmp_path: Path) -> BuilderSettings:
    through_the_door = replace(fleet.database, socket_dir=door.directory)
    return builder_settings(tmp_path, database=through_the_door.conninfo("builder_pi1"), heartbeat_seconds=0.05)


def build_two(fleet: Fleet, settings: BuilderSettings, number: int) -> None:
    """Two finished builds in the outbox."""
    for name in ("one", "two"):
        fleet.want(f"{name}{number}")
    spool, outbox = Spool(settings.state_dir / "spool", settings), Outbox(settings.state_dir / "outbox")
    batch = lease_everything(fleet)
    write_batch(spool.directory, batch)
    for leased in batch.builds:
        attempt = make_wheel(leased, batch.lease_id, 0, outbox.prepare(SpooledBuild(batch.lease_id, leased).name))
        spool.begin(attempt)
        outbox.deliver(attempt)


def publish_everything(fleet: Fleet) -> None:
    for (wheel_id,) in fleet.ask("SELECT wheel_id FROM wheel WHERE published_at IS NULL"):
        fleet.publish(wheel_id)


@pytest.mark.parametrize("to_server", [pytest.param(False, id="answers"), pytest.param(True, id="questions")])
@pytest.mark.parametrize("piece", [pytest.param(NOTHING, id="between"), *([pytest.param(A_PIECE, id="within")] if LONG else [])])
def test_a_conversation_cut_at_any_message(
    fleet: Fleet, settings: BuilderSettings, door: Door, to_server: bool, piece: int
) -> None:
    """Each round leaves two results to record and the two of the round before, published, to drop."""
    spool, outbox = Spool(settings.state_dir / "spool", settings), Outbox(settings.state_dir / "outbox")
    recorder = Recorder(settings, spool, outbox)
    number, rounds, committed_unheard, cut = 0, 0, 0, True
    while cut:
        # The greeting is long, and all of it means the same: nothing was asked yet.
        number = number + 1 if LONG or to_server or number not in range(1, 15) else 15
        rounds += 1
        build_two(fleet, settings, rounds)
        door.shut_at(number, to_server=to_server, piece=piece)
        try:
            recorder.speak()
        except DatabaseAway:
            assert door.cuts == 1
        else:
            # Only the goodbye, which nobody waits for, may be cut unnoticed.
            assert not door.cuts or to_server
        cut = door.cuts > 0
        door.shut_at(None, to_server=to_server)
        heard = sum(entry.lease_id == outbox.entries()[-1].lease_id and entry.recorded for entry in outbox.entries())
        committed_unheard += fleet.ask("SELECT count(*) FROM attempt") == [(2 * (rounds - 1) + heard + 1,)]
        recorder.speak()
        assert fleet.ask("SELECT count(*), count(DISTINCT build_id) FROM attempt") == [(2 * rounds, 2 * rounds)]
        assert [entry.recorded for entry in outbox.entries()] == [True, True]
        publish_everything(fleet)
    recorder.speak()
    assert outbox.entries() == []
    assert check_records(fleet) == 2 * rounds
    assert number > (5 if to_server else 25)
    if not to_server:
        assert committed_unheard > 0


def test_a_service_whose_every_conversation_is_cut_a_little_later(fleet: Fleet, settings: BuilderSettings, door: Door) -> None:
    wanted = [fleet.want(f"project{number}") for number in range(10)]
    service = Service(settings, make_wheel, space=lambda _: PLENTY, first_pause=0.01)
    write_batch(settings.state_dir / "spool", lease_everything(fleet))
    with serving(service):
        # Each failure doubles the pause before the next try, so there are few.
        for number in (1, 18, 20, 22, 24, 26):
            door.shut_at(number, to_server=False, piece=number % 3)
            eventually(lambda: door.cuts or door.passed > 80)
        eventually(lambda: [fleet.state(build_id) for build_id in wanted] == ["built"] * 10)
    assert check_records(fleet) == 10
