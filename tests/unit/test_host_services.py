"""library/host_services.py: which steps are due. That systemd takes them is shown on the rack."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from library import host_services
from library.host_services import Unit, steps

STARTED = datetime.now(UTC) - timedelta(hours=1)


def unit(**shown: str) -> Unit:
    return Unit(
        {
            "LoadState": "loaded",
            "ActiveState": "active",
            "SubState": "running",
            "UnitFileState": "enabled",
            "NeedDaemonReload": "no",
            "ActiveEnterTimestamp": STARTED.strftime("%a %Y-%m-%d %H:%M:%S.%f UTC"),
            "FragmentPath": "",
            "DropInPaths": "",
            **shown,
        }
    )


def due(one: Unit, **wanted: Any) -> list[str]:
    full = {"name": "a.service", "state": "started", "enabled": None, "masked": None, "files": [], "reload": False, **wanted}
    return list(steps(full, one))


def test_what_runs_as_configured_is_left_alone() -> None:
    assert due(unit(), enabled=True) == []


@pytest.mark.parametrize("state", [{"ActiveState": "inactive"}, {"ActiveState": "failed"}, {"SubState": "auto-restart"}])
def test_what_does_not_run_is_started(state: dict[str, str]) -> None:
    assert due(unit(**state)) == ["start"]


def test_a_newer_file_asks_for_a_restart_once(tmp_path: Path) -> None:
    (tmp_path / "settings").touch()
    assert due(unit(), files=[str(tmp_path / "settings")]) == ["restart"]
    later = (datetime.now(UTC) + timedelta(minutes=1)).strftime("%a %Y-%m-%d %H:%M:%S.%f UTC")
    assert due(unit(ActiveEnterTimestamp=later), files=[str(tmp_path / "settings")]) == []


def test_a_newer_unit_or_drop_in_asks_for_a_restart(tmp_path: Path) -> None:
    (tmp_path / "a.service").touch()
    assert due(unit(FragmentPath=str(tmp_path / "a.service")), reload=True) == ["restart"]
    assert due(unit(DropInPaths=f"/nowhere {tmp_path}/a.service")) == ["restart"]


def test_a_reload_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_services, "RELOADED", tmp_path / "reloaded")
    (tmp_path / "settings").touch()
    files = [str(tmp_path / "settings")]
    assert due(unit(), files=files, reload=True) == ["reload"]
    (tmp_path / "reloaded").mkdir()
    (tmp_path / "reloaded/a.service").touch()
    assert due(unit(), files=files, reload=True) == []


def test_stopped_disabled_and_masked() -> None:
    assert due(unit(), state="stopped", enabled=False, masked=True) == ["stop", "disable", "mask"]
    quiet = unit(ActiveState="inactive", SubState="dead", UnitFileState="disabled")
    assert due(quiet, state="stopped", enabled=False) == []
    assert due(quiet, enabled=True) == ["enable", "start"]
    masked = unit(ActiveState="inactive", LoadState="masked", UnitFileState="masked")
    assert due(masked, state="stopped", masked=True) == []
    assert due(masked, masked=False) == ["unmask", "start"]
