"""What builder_info makes of whatever lies in a builder's directories."""

import fcntl
import json
import os
from pathlib import Path

import pytest

from tests.support.modules import run_module


def seen(place: Path) -> dict[str, object]:
    told = run_module("builder_info", {"state_dir": str(place)})
    return {name: told.get(name) for name in ("failed", "alive", "status")}


def test_what_its_service_says(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(json.dumps({"spool": 3}))
    with (tmp_path / "lock").open("w") as lock:
        assert seen(tmp_path)["alive"] is False
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert seen(tmp_path) == {"failed": None, "alive": True, "status": {"spool": 3}}


@pytest.mark.parametrize("text", ["", "no JSON", "[" * 100_000, "[1]", '{"a": "' + "x" * 2**20 + '"}'], ids=len)
def test_a_status_that_is_none_is_empty(tmp_path: Path, text: str) -> None:
    (tmp_path / "status.json").write_text(text)
    assert seen(tmp_path) == {"failed": None, "alive": False, "status": {}}


@pytest.mark.parametrize("name", ["status.json", "lock"])
@pytest.mark.parametrize("kind", ["fifo", "link", "directory"])
def test_nobody_waits_for_what_is_no_file(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    assert seen(tmp_path)["failed"] is True
