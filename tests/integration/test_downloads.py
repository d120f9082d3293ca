"""Downloads are counted from what nginx writes: each line once, each client once a day, and nobody's address is kept."""

import gzip
import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from piwheels_builder.cli import main
from piwheels_builder.db.connect import connected
from piwheels_builder.queue import access_log, downloads
from piwheels_builder.queue.downloads import count_logs, downloads_of
from tests.support.fleet import BOOKWORM, Fleet
from tests.support.published import nginx_serving, public_directory

PIP = 'pip/26.3 {"cpu":"armv7l"}'
WHEEL = "demo-1.0-py3-none-any.whl"
URL = f"/wheels/de/demo/{WHEEL}"


@pytest.fixture(autouse=True)
def settings(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = {"database": {role: fleet.database.conninfo(f"piwheels_{role}") for role in ("dispatcher", "reader")}}
    (tmp_path / "fleet.yml").write_text(yaml.safe_dump({**written, "projects": ["demo"]}))
    monkeypatch.setenv("PIWHEELS_BUILDER_ETC", str(tmp_path))


@pytest.fixture
def published(fleet: Fleet) -> Fleet:
    fleet.add_builder("pi1", BOOKWORM)
    build_id = fleet.want("demo")
    batch = fleet.lease("pi1")
    assert batch is not None
    fleet.record("pi1", batch.lease_id, build_id)
    ((wheel_id,),) = fleet.ask("SELECT wheel_id FROM wheel")
    fleet.publish(wheel_id, BOOKWORM)
    return fleet


def line(uri: str = URL, network: str = "192.0.2.0", agent: str = PIP, **said: str) -> str:
    usual = {
        "time": "2026-11-22T10:00:00+00:00",
        "id": said.get("uri", "") + str(time.monotonic_ns()),
        "method": "GET",
        "status": "200",
    }
    fields = {**usual, "uri": uri, "network": network, "agent": agent, "whole": "OK", "range": "", **said}
    return json.dumps(fields) + "\n"


def count(fleet: Fleet, logs: Path) -> int:
    with connected(fleet.database.conninfo("piwheels_dispatcher")) as connection:
        return count_logs(connection, logs)


def counted(fleet: Fleet) -> list[tuple[int, int, int]]:
    (ids,) = fleet.ask("SELECT array_agg(project_id) FROM project")[0]
    with connected(fleet.database.conninfo("piwheels_reader")) as connection:
        return [(each.number, each.repeated, each.bots) for each in downloads_of(connection, ids)]


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "logs"
    directory.mkdir()
    yield directory


def test_clients_repetitions_and_bots_are_told_apart(published: Fleet, logs: Path) -> None:
    lines = [line(), line(), line(network="198.51.100.0"), line(agent="bandersnatch/6.5"), line(agent="SomeBot/1.0")]
    unfinished = [
        line(whole=""),
        line(status="206", range="bytes=0-99"),
        line(method="HEAD"),
        line(f"{URL}.metadata"),
        line(status="404"),
    ]
    resumed = [line(status="206", range="bytes=100-", network="203.0.113.0")]
    strangers = ["{\n", "[]\n", '{"uri": 1}\n', "\x00\n", line("/wheels/no/nothing/nothing-1.0-py3-none-any.whl")]
    (logs / "access.log").write_text("".join(lines + unfinished + resumed + strangers))
    assert count(published, logs) == 16
    assert counted(published) == [(3, 1, 2)]


def test_a_line_counts_once_over_rotation_and_packing(published: Fleet, logs: Path) -> None:
    current = logs / "access.log"
    lines = [line(network=f"192.0.{number}.0") for number in range(6)]
    current.write_text(lines[0] + lines[1] + lines[2][:40])
    assert (count(published, logs), counted(published)) == (2, [(2, 0, 0)])
    rotated = current.rename(logs / "access.log.1")
    rotated.write_text("".join(lines[:4]))
    current.write_text(lines[4])
    assert (count(published, logs), counted(published)) == (3, [(5, 0, 0)])
    rotated.unlink()
    (logs / "access.log.2.gz").write_bytes(gzip.compress("".join(lines[:4]).encode()))
    current.rename(logs / "access.log.1")
    (logs / "access.log").write_text(lines[5])
    assert (count(published, logs), counted(published)) == (1, [(6, 0, 0)])
    assert (count(published, logs), counted(published)) == (0, [(6, 0, 0)])


def test_killed_between_two_pieces_it_goes_on_there(published: Fleet, logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "PIECE", 2)
    (logs / "access.log").write_text("".join(line(network=f"192.0.{number}.0") for number in range(5)))
    calls = iter(range(100))

    def dying(text: str) -> access_log.Request | None:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return access_log.request(text)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(downloads, "request", dying)
        count(published, logs)
    assert counted(published) == [(2, 0, 0)]
    assert (count(published, logs), counted(published)) == (3, [(5, 0, 0)])


def test_a_piece_that_another_one_counted_is_not_counted_again(published: Fleet) -> None:
    said = json.dumps([{"day": "2026-11-22", "client": "a", "bot": False, "filename": WHEEL, "project": None}])
    statement = "SELECT count_downloads('log', 0, 10, %s)"
    assert published.ask(statement, said, role="piwheels_dispatcher") == [(True,)]
    assert published.ask(statement, said, role="piwheels_dispatcher") == [(False,)]
    assert counted(published) == [(1, 0, 0)]


def test_what_was_redirected_is_demand_once_for_each_client_a_day(published: Fleet, logs: Path) -> None:
    asked = [
        line("/simple/demo/", status="302"),
        line("/bookworm/simple/Demo/", status="302"),
        line("/simple/unheard-of/", status="302"),
    ]
    (logs / "access.log").write_text("".join([*asked, line("/simple/demo/", status="302", agent="crawler")]))
    count(published, logs)
    assert published.ask("SELECT project, asked FROM demand") == [("demo", 1)]


def test_keys_go_after_two_days_and_days_become_months(published: Fleet, logs: Path) -> None:
    (logs / "access.log").write_text("".join(line(time=f"2020-02-{day:02}T00:00:00+00:00") for day in (1, 2, 20)))
    count(published, logs)
    published.ask("UPDATE download_key SET made_at = now() - interval '3 days'")
    count(published, logs)
    assert counted(published) == [(3, 0, 0)]
    assert published.ask("SELECT count(*) FROM download_seen") == [(0,)]
    assert published.ask("SELECT day::text FROM download") == [("2020-02-01",)]


def test_nginx_writes_what_is_counted_and_no_address(published: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    with public_directory() as place:
        wheel = place / "published" / URL[1:]
        wheel.parent.mkdir(parents=True)
        wheel.write_bytes(b"x" * 100_000)
        with nginx_serving(place / "published", place, "http://upstream.invalid/simple") as url:
            for agent in (PIP, PIP, 'a bot/1.0 "\\ \xff'):
                connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
                connection.request("GET", URL, headers={"User-Agent": agent})
                assert len(connection.getresponse().read()) == 100_000
                connection.close()
        written = (place / "nginx-log/access.log").read_text(errors="replace")
        assert "127.0.0.0" in written
        assert "127.0.0.1" not in written
        assert len({json.loads(line)["id"] for line in written.splitlines()}) == 3
        assert main(["downloads", "count", "--log-dir", str(place / "nginx-log")]) == 0
    assert counted(published) == [(1, 1, 1)]
    main(["downloads", "show", "--json"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"project": "demo", "number": 1, "repeated": 1, "bots": 1}
    assert main(["downloads", "show", "Demo"]) == 0
    assert "demo-1.0" in capsys.readouterr().out
    assert main(["downloads", "show", "unheard-of"]) == 66
    assert main(["downloads", "count", "--log-dir", "/nowhere"]) == 64
