"""library/host_files.py, run as Ansible runs it."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.modules import run_module


def files(*entries: dict[str, Any], check: bool = False) -> dict[str, Any]:
    return run_module("host_files", {"entries": list(entries)}, check=check)


def test_makes_what_is_missing_and_then_changes_nothing(tmp_path: Path) -> None:
    entries: tuple[dict[str, Any], ...] = (
        {"path": str(tmp_path / "etc"), "state": "directory", "mode": "0750"},
        {"path": str(tmp_path / "etc/file"), "content": "text\n", "mode": "0600"},
        {"path": str(tmp_path / "link"), "state": "link", "target": "etc/file"},
    )
    first = files(*entries)
    assert first["changed_paths"] == [str(tmp_path / name) for name in ("etc", "etc/file", "link")]
    assert (tmp_path / "link").read_text() == "text\n"
    assert (tmp_path / "etc").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "etc/file").stat().st_mode & 0o777 == 0o600
    assert not files(*entries)["changed"]


@pytest.mark.parametrize(
    "spoil", [lambda path: path.write_text("other"), lambda path: path.chmod(0o666), lambda path: path.unlink()]
)
def test_mends_what_differs(tmp_path: Path, spoil: Any) -> None:
    entry = {"path": str(tmp_path / "file"), "content": "text"}
    files(entry)
    spoil(tmp_path / "file")
    assert files(entry)["changed_paths"] == [str(tmp_path / "file")]
    assert (tmp_path / "file").read_text() == "text"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_a_dry_run_tells_and_changes_nothing(tmp_path: Path) -> None:
    result = files({"path": str(tmp_path / "new/file"), "content": "text", "owner": "nobody-yet"}, check=True)
    assert result["changed"]
    assert "text" in result["diff"][0]["after"]
    assert list(tmp_path.iterdir()) == []


def test_a_secret_is_not_shown(tmp_path: Path) -> None:
    result = files({"path": str(tmp_path / "key"), "content": "hidden", "mode": "0600", "secret": True})
    assert (tmp_path / "key").read_text() == "hidden"
    assert "hidden" not in str(result["diff"])


def test_what_is_absent_goes_whole(tmp_path: Path) -> None:
    (tmp_path / "old/deep").mkdir(parents=True)
    assert files({"path": str(tmp_path / "old"), "state": "absent"})["changed"]
    assert not (tmp_path / "old").exists()
    assert not files({"path": str(tmp_path / "old"), "state": "absent"})["changed"]


def test_a_text_that_is_not_accepted_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    result = files({"path": str(tmp_path / "file"), "content": "new", "validate": "grep -q old %s"})
    assert result["failed"]
    assert "does not accept" in result["msg"]
    assert (tmp_path / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("theirs")
    (tmp_path / "file").symlink_to(tmp_path / "elsewhere")
    files({"path": str(tmp_path / "file"), "content": "ours"})
    assert (tmp_path / "elsewhere").read_text() == "theirs"
    assert not (tmp_path / "file").is_symlink()


def test_a_directory_is_never_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    result = files({"path": str(tmp_path / "place"), "content": "text"})
    assert result["failed"]
    assert "is a directory" in result["msg"]


def test_an_unknown_user_is_refused(tmp_path: Path) -> None:
    result = files({"path": str(tmp_path / "file"), "content": "text", "owner": "nobody-here"})
    assert result["failed"]
    assert "no user nobody-here" in result["msg"]
    assert list(tmp_path.iterdir()) == []
