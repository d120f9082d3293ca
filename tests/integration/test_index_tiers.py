"""Old wheels on a cold disk: no URL changes, whenever whoever moves them is killed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from piwheels_builder.cli import main
from piwheels_builder.db.connect import connected
from piwheels_builder.errors import BadInput
from piwheels_builder.index import tiers
from piwheels_builder.index.tiers import Report, move_wheels
from tests.support.fleet import Fleet
from tests.support.published import IndexHost, nginx_serving, public_directory

WHEEL = "demo-1.0-py3-none-any.whl"


class Killed(BaseException):
    pass


@pytest.fixture
def host(fleet: Fleet) -> Iterator[IndexHost]:
    """One wheel that was withdrawn two years ago, one that is new, and a cold disk."""
    with public_directory() as place:
        host = IndexHost(fleet, place)
        fleet.add_builder("pi1")
        for project in ("demo", "fresh"):
            host.build(project)
        assert len(host.publish().published) == 2
        fleet.ask(
            "UPDATE wheel SET withdrawn_at = now() - interval '2 years', withdrawn_reason = 'x',"
            " published_at = now() - interval '3 years' WHERE filename = %s RETURNING wheel_id",
            WHEEL,
        )
        cold(host).mkdir()
        yield host


def cold(host: IndexHost) -> Path:
    return host.place / "cold"


def lies(host: IndexHost) -> Path:
    return host.tree / "wheels/de/demo" / WHEEL


def move(host: IndexHost, **options: Any) -> Report:
    with connected(host.fleet.database.conninfo("piwheels_reader")) as connection:
        return move_wheels(connection, host.tree, [cold(host)], **{"days": 365, "releases": 1, **options})


def test_a_moved_wheel_keeps_its_url(host: IndexHost) -> None:
    bytes_before = lies(host).read_bytes()
    foreseen = move(host, check=True)
    assert (foreseen.moved.files, lies(host).is_symlink(), list(cold(host).iterdir())) == (1, False, [])
    report = move(host)
    assert report == foreseen
    assert (report.tiers[host.tree].files, report.tiers[cold(host)].files) == (1, 1)
    assert (cold(host) / "wheels/de/demo" / WHEEL).read_bytes() == bytes_before
    assert lies(host).is_symlink()
    with nginx_serving(host.tree, host.place, "http://upstream.invalid/simple") as url:
        assert urlopen(f"{url}/wheels/de/demo/{WHEEL}").read() == bytes_before
        assert urlopen(f"{url}/wheels/de/demo/{WHEEL}.metadata").read()
    again = move(host)
    assert (again.moved.files, again.tiers) == (0, report.tiers)


@pytest.mark.parametrize("moment", ["copied", "on the cold disk", "linked"])
def test_a_kill_loses_nothing(host: IndexHost, moment: str) -> None:
    bytes_before = lies(host).read_bytes()

    def kill(step: str) -> None:
        # Whoever reads meanwhile finds the same bytes at every step.
        assert lies(host).read_bytes() == bytes_before
        if step == moment:
            raise Killed

    with pytest.raises(Killed):
        move(host, step=kill)
    assert lies(host).read_bytes() == bytes_before
    move(host)
    assert lies(host).is_symlink()
    assert lies(host).read_bytes() == bytes_before


def test_what_is_damaged_stays_where_it_is(host: IndexHost) -> None:
    lies(host).write_bytes(b"?" * lies(host).stat().st_size)
    report = move(host)
    assert (report.damaged, report.moved.files, lies(host).is_symlink()) == ([WHEEL], 0, False)


def test_a_full_cold_disk_takes_nothing(host: IndexHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "RESERVE", 2**60)
    report = move(host)
    assert (report.no_room.files, report.moved.files, lies(host).is_symlink()) == (1, 0, False)


def test_a_disk_that_is_not_mounted_is_refused(host: IndexHost) -> None:
    cold(host).rmdir()
    with pytest.raises(BadInput, match="mount the disk"):
        move(host)


def test_the_newest_releases_and_recent_ones_stay(host: IndexHost) -> None:
    assert move(host, days=1000).moved.files == 0
    host.fleet.ask("UPDATE wheel SET withdrawn_at = NULL, withdrawn_reason = NULL RETURNING wheel_id")
    assert move(host).moved.files == 0
    host.fleet.ask("UPDATE release SET newest_first = 2 WHERE release_id = %s RETURNING release_id", host.fleet.releases["demo"])
    assert move(host, releases=2).moved.files == 0
    assert move(host).moved.files == 1


def test_the_command_tells_what_lies_where(
    host: IndexHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fleet.yml").write_text(json.dumps({"database": {"reader": host.fleet.database.conninfo("piwheels_reader")}}))
    monkeypatch.setenv("PIWHEELS_BUILDER_ETC", str(tmp_path))
    command = ["move-wheels", "--published", str(host.tree), "--json", str(cold(host))]
    assert main([*command, "--check"]) == 0
    assert main(command) == 0
    foreseen, done = map(json.loads, capsys.readouterr().out.splitlines())
    assert foreseen == done
    assert done["tiers"][str(cold(host))]["files"] == done["moved"]["files"] == 1
    (cold(host) / "wheels/de/demo" / WHEEL).unlink()
    assert main([*command, "--check"]) == 74
    assert json.loads(capsys.readouterr().out)["damaged"] == [WHEEL]
