"""library/host_services.py: which steps are due. That systemd takes them is shown on the rack."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from library import host_services
from library.host_services import Unit, has_unseen, steps

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
    full = {"name": "a.service", "state": "started", "enabled": None, "files": [], "reload": False, **wanted}
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


def test_a_start_is_read_on_a_host_that_names_weekdays_otherwise() -> None:
    said = unit().shown["ActiveEnterTimestamp"].partition(" ")[2]
    assert unit(ActiveEnterTimestamp=f"Mi {said}").started_at == pytest.approx(STARTED.timestamp(), abs=1e-3)


def test_a_drop_in_of_a_directory_that_systemd_has_not_looked_into_is_unseen(tmp_path: Path) -> None:
    drop_in = tmp_path / "etc/systemd/system/a.service.d/more.conf"
    assert not has_unseen({"files": [str(drop_in)]}, unit())
    drop_in.parent.mkdir(parents=True)
    drop_in.touch()
    assert has_unseen({"files": [str(drop_in)]}, unit())
    assert not has_unseen({"files": [str(drop_in)]}, unit(DropInPaths=str(drop_in)))
    assert not has_unseen({"files": [str(drop_in)]}, unit(LoadState="not-found"))
    (tmp_path / "settings.conf").touch()
    assert not has_unseen({"files": [str(tmp_path / "settings.conf")]}, unit())


def test_stopped_and_disabled() -> None:
    assert due(unit(), state="stopped", enabled=False) == ["stop", "disable"]
    quiet = unit(ActiveState="inactive", SubState="dead", UnitFileState="disabled")
    assert due(quiet, state="stopped", enabled=False) == []
    assert due(quiet, enabled=True) == ["enable", "start"]
