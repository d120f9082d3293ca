"""The commands that copy a database and print host keys, as an operator calls them."""

import json
from pathlib import Path

import pytest

from piwheels_builder.cli import main
from piwheels_builder.errors import DatabaseRefused
from tests.support.fleet import Fleet

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


@pytest.fixture(autouse=True)
def settings(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roles = {role: fleet.database.conninfo(f"piwheels_{role}") for role in ("owner", "reader")}
    (tmp_path / "fleet.yml").write_text(json.dumps({"database": roles}))
    monkeypatch.setenv("PIWHEELS_BUILDER_ETC", str(tmp_path))


def test_host_keys_are_printed_for_a_controller_that_lost_them(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("pi2", "pi3", "pi4"):
        fleet.add_builder(name)
    fleet.ask("UPDATE builder SET address = '192.0.2.1', host_keys = %s WHERE name = 'pi1'", [KEY])
    fleet.ask("UPDATE builder SET address = '2001:DB8::2', host_keys = %s WHERE name = 'pi2'", [KEY])
    fleet.ask("UPDATE builder SET address = 'pi3', host_keys = %s WHERE name = 'pi3'", ["evil\n* " + KEY])
    assert main(["known-hosts"]) == 0
    told = capsys.readouterr()
    assert told.out == f"192.0.2.1 {KEY}\n2001:db8::2 {KEY}\n"
    assert "of pi3" in told.err


def test_a_copy_goes_there_and_is_not_loaded_over_builds(fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.want("demo")
    assert main(["copy-database", str(tmp_path / "copy")]) == 0
    assert "project: 1 rows" in capsys.readouterr().out
    assert main(["load-database", "--check", str(tmp_path / "copy")]) == DatabaseRefused.exit_code
    assert "has builds already" in capsys.readouterr().err
