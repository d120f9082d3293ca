"""The spool: each batch counts once, whatever is delivered, and nothing that is over is built again."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from piwheels_builder.builder import spool as spool_module
from piwheels_builder.builder.disk import remove
from piwheels_builder.builder.spool import Spool, SpooledBuild, split_name, write_batch
from piwheels_builder.queue.batch import Batch
from piwheels_builder.targets import Target
from tests.support.builders import a_batch, an_attempt, builder_settings

LEASE = "00000000-0000-0000-0000-000000000001"


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", builder_settings(tmp_path))


def ids(builds: list[SpooledBuild]) -> list[int]:
    return [build.leased.build_id for build in builds]


def deliver(spool: Spool, batch: Batch, arrived: int) -> None:
    assert write_batch(spool.directory, batch)
    os.utime(spool.directory / f"{batch.lease_id}.json", (arrived, arrived))


def test_builds_come_in_order_of_arrival_and_inside_a_batch_in_its_order(spool: Spool) -> None:
    deliver(spool, a_batch(5, 4), arrived=2000)
    deliver(spool, a_batch(9, 1), arrived=1000)
    deliver(spool, a_batch(7), arrived=3000)
    assert ids(spool.remaining(set())) == [9, 1, 5, 4, 7]


def test_a_batch_arrives_as_it_was_sent(spool: Spool) -> None:
    batch = a_batch(1, 2)
    write_batch(spool.directory, batch)
    assert spool.remaining(set()) == [SpooledBuild(batch.lease_id, build) for build in batch.builds]


def test_a_batch_that_is_still_being_written_is_not_seen(spool: Spool) -> None:
    batch = a_batch(1)
    (spool.directory / f".{batch.lease_id}.json.77").write_text(batch.to_json()[:50])
    assert spool.remaining(set()) == []
    assert list((spool.directory / "refused").iterdir()) == []


def test_what_is_in_the_outbox_or_finished_does_not_remain(spool: Spool) -> None:
    batch = a_batch(1, 2, 3)
    write_batch(spool.directory, batch)
    spool.finish(f"{batch.lease_id}-2")
    assert ids(spool.remaining({f"{batch.lease_id}-1"})) == [3]


def test_the_same_build_under_another_lease_is_another_build(spool: Spool) -> None:
    first, second = a_batch(1), a_batch(1)
    write_batch(spool.directory, first)
    write_batch(spool.directory, second)
    assert [build.lease_id for build in spool.remaining({f"{first.lease_id}-1"})] == [second.lease_id]


def test_a_batch_goes_when_all_of_it_is_delivered_and_never_comes_back(spool: Spool) -> None:
    batch = a_batch(1, 2)
    write_batch(spool.directory, batch)
    assert spool.remaining({f"{batch.lease_id}-1", f"{batch.lease_id}-2"}) == []
    assert not (spool.directory / f"{batch.lease_id}.json").exists()
    # Its outbox entries have been published and dropped meanwhile.
    assert not write_batch(spool.directory, batch)
    assert spool.remaining(set()) == []


def test_a_finished_batch_copied_in_by_hand_is_not_built_again_even_after_a_restart(spool: Spool, tmp_path: Path) -> None:
    batch = a_batch(1)
    write_batch(spool.directory, batch)
    spool.remaining({f"{batch.lease_id}-1"})
    (spool.directory / f"{batch.lease_id}.json").write_text(batch.to_json())
    assert Spool(tmp_path / "spool", builder_settings(tmp_path)).remaining(set()) == []
    assert not (spool.directory / f"{batch.lease_id}.json").exists()


def test_a_batch_delivered_twice_is_there_once(spool: Spool) -> None:
    batch = a_batch(1)
    assert write_batch(spool.directory, batch)
    assert not write_batch(spool.directory, batch)
    assert ids(spool.remaining(set())) == [1]


def test_finished_marks_do_not_pile_up(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "REMEMBERED_LEASES", 3)
    batches = [a_batch(1, 2) for _ in range(6)]
    for number, batch in enumerate(batches):
        write_batch(spool.directory, batch)
        spool.finish(f"{batch.lease_id}-1")
        assert spool.remaining({f"{batch.lease_id}-2"}) == []
        os.utime(spool.directory / "finished" / str(batch.lease_id), (number, number))
    assert {path.name for path in (spool.directory / "finished").iterdir()} == {str(batch.lease_id) for batch in batches[-3:]}


GARBAGE = {
    "empty": b"",
    "zeros": b"\0" * 512,
    "half": a_batch(1).to_json().encode()[:100],
    "not a batch": b"[]",
    "number": b"17",
    "deep": b"[" * 100_000,
    "not UTF-8": b"\xff\xfe{}",
    "endless estimate": a_batch(1).to_json().replace('"build_id": 1', '"build_id": Infinity').encode(),
    "number for a lease": b'{"lease_id": 5, "builder": "pi1", "builds": []}',
    "unknown architecture": a_batch(1).to_json().replace("armv7l", "pdp11").encode(),
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_is_set_aside_with_a_reason_and_the_rest_is_built(
    spool: Spool, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"{uuid4()}.json"
    (spool.directory / name).write_bytes(content)
    write_batch(spool.directory, a_batch(8))
    assert ids(spool.remaining(set())) == [8]
    assert (spool.directory / "refused" / name).read_bytes() == content
    assert name in caplog.text
    assert Path(name).stem not in map(str, spool.held()[0])


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        (a_batch(1, builder="pi2"), "is for builder 'pi2'"),
        (a_batch(1, target=Target("cp313", "armv7l", "bookworm")), "wants cp313-armv7l-bookworm"),
        (a_batch(1, target=Target("cp311", "aarch64", "bookworm")), "wants cp311-aarch64-bookworm"),
        (a_batch(1, target=Target("cp311", "armv7l", "trixie")), "wants cp311-armv7l-trixie"),
    ],
)
def test_a_batch_for_somebody_else_is_set_aside(spool: Spool, batch: Batch, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    write_batch(spool.directory, batch)
    assert spool.remaining(set()) == []
    assert (spool.directory / "refused" / f"{batch.lease_id}.json").exists()
    assert reason in caplog.text


def test_a_batch_under_another_leases_name_is_set_aside(spool: Spool) -> None:
    (spool.directory / "holiday.json").write_text(a_batch(1).to_json())
    assert spool.remaining(set()) == []
    assert (spool.directory / "refused" / "holiday.json").exists()


def test_a_directory_where_a_batch_should_be_is_set_aside(spool: Spool) -> None:
    (spool.directory / "odd.json" / "inside").mkdir(parents=True)
    assert spool.remaining(set()) == []
    assert (spool.directory / "refused" / "odd.json" / "inside").exists()


def test_garbage_never_replaces_earlier_garbage(spool: Spool) -> None:
    for content in ("one", "two"):
        (spool.directory / "x.json").write_text(content)
        spool.remaining(set())
    assert sorted(path.read_text() for path in (spool.directory / "refused").iterdir()) == ["one", "two"]


def test_held_leases_are_those_spooled_or_begun_and_not_recorded(spool: Spool) -> None:
    spooled, begun = a_batch(1, 2), a_batch(3)
    write_batch(spool.directory, spooled)
    spool.begin(an_attempt(SpooledBuild(begun.lease_id, begun.builds[0])))
    assert spool.held() == (sorted([spooled.lease_id, begun.lease_id]), [3])
    spool.end(f"{begun.lease_id}-3")
    assert spool.held() == ([spooled.lease_id], [])


def test_a_begun_mark_holds_what_to_report_and_an_unreadable_one_is_dropped(spool: Spool) -> None:
    batch = a_batch(1, 2)
    attempt = an_attempt(SpooledBuild(batch.lease_id, batch.builds[0]))
    spool.begin(attempt)
    (spool.directory / "begun" / f"{batch.lease_id}-2").write_text("")
    assert spool.begun() == {attempt.directory_name: attempt}
    assert spool.held()[1] == [1]


def test_changed_sees_a_delivery_within_the_clocks_tick(spool: Spool) -> None:
    assert spool.changed()
    moment = spool.directory.stat().st_mtime_ns
    write_batch(spool.directory, a_batch(1))
    os.utime(spool.directory, ns=(moment, moment))
    assert spool.changed()


def test_an_old_spool_without_news_has_not_changed(spool: Spool) -> None:
    os.utime(spool.directory, (1000, 1000))
    assert spool.changed()
    assert not spool.changed()


@pytest.mark.parametrize(
    "name", ["recorded", "x-1", LEASE, f"{LEASE}-", f"{LEASE}-x", f"{{{LEASE}}}-1", f"{LEASE}-\N{ARABIC-INDIC DIGIT ONE}"]
)
def test_no_other_name_passes_for_a_leased_builds(name: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        split_name(name)


def test_a_writer_that_dies_at_any_step_leaves_a_whole_batch_or_none(tmp_path: Path) -> None:
    """Die in the first fsync, then in the rename, then in the directory's fsync."""
    seen = []
    for step in ("os.fsync", "Path.rename", "disk.sync"):
        place = tmp_path / step
        spool = Spool(place, builder_settings(tmp_path))
        script = (
            "import os, sys; from pathlib import Path; from uuid import UUID\n"
            "from piwheels_builder.builder import disk; from piwheels_builder.builder.spool import write_batch\n"
            "from piwheels_builder.queue.batch import Batch\n"
            f"{step} = lambda *_: os._exit(9)\n"
            "write_batch(Path(sys.argv[1]), Batch(UUID(int=1), 'pi1', ()))\n"
        )
        assert subprocess.run([sys.executable, "-c", script, place], check=False).returncode == 9
        seen.append((place / f"{LEASE}.json").exists())
        assert spool.remaining(set()) == []
        assert list((place / "refused").iterdir()) == []
    assert seen == [False, False, True]


def test_a_tree_whose_permissions_a_build_took_away_can_be_removed(tmp_path: Path) -> None:
    tree = tmp_path / "area"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "b" / "file").write_text("x")
    (tree / "link").symlink_to(tmp_path)
    (tree / "a" / "b").chmod(0)
    (tree / "a").chmod(0o500)
    tree.chmod(0o500)
    remove(tree)
    assert not tree.exists()
    assert tmp_path.exists()


def test_urgent_builds_come_before_what_has_waited(spool: Spool) -> None:
    urgent = a_batch(7, 8)
    deliver(spool, a_batch(5, 4), arrived=1000)
    deliver(spool, replace(urgent, builds=(urgent.builds[0], replace(urgent.builds[1], urgent=True))), arrived=2000)
    assert ids(spool.remaining(set())) == [8, 5, 4, 7]
