"""What a controller packs for its hosts: the same for the same sources, another for others."""

import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from piwheels_builder import packing
from piwheels_builder.errors import BadInput
from piwheels_builder.packing import PLAYBOOKS, SOURCES, playbooks, version, wheel

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    for name in ("ansible.cfg", "build.yml", "playbooks/a.yml", "roles/r/tasks/main.yml", "library/m.py", "plugins/action/p.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_a_version_follows_what_is_in_the_files(checkout: Path) -> None:
    before = version(checkout, PLAYBOOKS)
    (checkout / "library/__pycache__").mkdir()
    (checkout / "library/__pycache__/m.pyc").write_text("compiled")
    (checkout / "library/.m.py.swp").write_text("an editor's")
    os.utime(checkout / "build.yml", (0, 0))
    assert version(checkout, PLAYBOOKS) == before
    (checkout / "library/m.py").write_text("changed")
    changed = version(checkout, PLAYBOOKS)
    assert changed != before
    (checkout / "library/m.py").rename(checkout / "library/n.py")
    assert version(checkout, PLAYBOOKS) not in (before, changed)


def test_playbooks_are_packed_once_for_each_state(checkout: Path, tmp_path: Path) -> None:
    first = playbooks(checkout, tmp_path / "cache")
    made = first.path.stat().st_mtime_ns
    assert playbooks(checkout, tmp_path / "cache") == first
    assert first.path.stat().st_mtime_ns == made
    (checkout / "build.yml").write_text("changed")
    second = playbooks(checkout, tmp_path / "cache")
    assert second.version != first.version
    with tarfile.open(second.path) as tar:
        member = tar.extractfile("build.yml")
        assert member is not None
        assert member.read() == b"changed"


def test_packed_playbooks_can_be_read_by_others_than_who_packed_them(checkout: Path, tmp_path: Path) -> None:
    (checkout / "build.yml").chmod(0o600)
    (checkout / "library/m.py").chmod(0o700)
    with tarfile.open(playbooks(checkout, tmp_path / "cache").path) as tar:
        modes = {member.name: member.mode for member in tar.getmembers()}
    assert (modes["build.yml"], modes["library/m.py"], modes["roles"]) == (0o644, 0o755, 0o755)


def test_an_interrupted_packing_is_done_again(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_sources: Path, to: Path) -> None:
        (to / "half").write_text("")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(packing, "_build_tar", interrupted)
        playbooks(checkout, tmp_path / "cache")
    assert playbooks(checkout, tmp_path / "cache").path.name == "playbooks.tar.gz"


def test_old_packs_are_forgotten(checkout: Path, tmp_path: Path) -> None:
    for number in range(7):
        (checkout / "build.yml").write_text(str(number))
        last = playbooks(checkout, tmp_path / "cache")
    kept = [path for path in (tmp_path / "cache/playbooks").iterdir() if path.is_dir()]
    assert len(kept) == 4
    assert last.path.parent in kept


def test_a_checkout_that_is_not_whole_is_refused(checkout: Path, tmp_path: Path) -> None:
    (checkout / "build.yml").unlink()
    with pytest.raises(BadInput, match=r"build\.yml is missing"):
        playbooks(checkout, tmp_path / "cache")


def test_a_wheel_of_this_checkout_holds_everything_that_the_package_reads(tmp_path: Path) -> None:
    packed = wheel(ROOT, tmp_path / "cache")
    with zipfile.ZipFile(packed.path) as opened:
        names = set(opened.namelist())
    wanted = {str(path.relative_to(ROOT)) for path in packing.files(ROOT, SOURCES[:1])}
    assert wanted - names == set()
