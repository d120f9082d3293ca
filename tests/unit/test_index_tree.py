"""Writing into the published tree, and cleaning up after runs that were killed."""

import gzip
import tempfile
from pathlib import Path, PurePosixPath

import pytest

from piwheels_builder.errors import StorageFault
from piwheels_builder.index.tree import open_tree

PAGE = PurePosixPath("simple/de/demo/index.html")


def test_a_page_is_written_once_with_its_gz(tmp_path: Path) -> None:
    with open_tree(tmp_path) as tree:
        assert tree.write({PAGE: b"one"})
        assert not tree.write({PAGE: b"one"})
        assert tree.write({PAGE: b"two"})
    assert (tmp_path / PAGE).read_bytes() == b"two"
    assert gzip.decompress((tmp_path / f"{PAGE}.gz").read_bytes()) == b"two"
    assert (tmp_path / f"{PAGE}.gz").read_bytes()[4:8] == bytes(4)


@pytest.mark.parametrize("damage", [b"", b"garbage", gzip.compress(b"older", mtime=0)])
def test_a_gz_that_does_not_fit_is_written_again(tmp_path: Path, damage: bytes) -> None:
    with open_tree(tmp_path) as tree:
        tree.write({PAGE: b"one"})
        (tmp_path / f"{PAGE}.gz").write_bytes(damage)
        assert tree.write({PAGE: b"one"})
        assert gzip.decompress((tmp_path / f"{PAGE}.gz").read_bytes()) == b"one"


def test_a_removed_page_leaves_nothing_behind(tmp_path: Path) -> None:
    with open_tree(tmp_path) as tree:
        tree.write({PAGE: b"one"})
        assert tree.remove(PAGE)
        assert not tree.remove(PAGE)
    assert not (tmp_path / PAGE).parent.exists()


def test_what_a_killed_run_left_is_removed_and_a_living_one_is_not(tmp_path: Path) -> None:
    left = tmp_path / ".publishing/killed"
    left.mkdir(parents=True)
    (left / "half.whl").write_bytes(b"half")
    with open_tree(tmp_path) as living, open_tree(tmp_path) as other:
        assert not left.exists()
        assert living.workshop.exists()
        assert other.workshop != living.workshop
    assert list((tmp_path / ".publishing").iterdir()) == []


def test_what_the_disk_refuses_has_a_name(tmp_path: Path) -> None:
    (tmp_path / "simple").write_text("a file where a directory belongs")
    with pytest.raises(StorageFault, match="nothing else was booked"), open_tree(tmp_path) as tree:
        tree.write({PAGE: b"one"})


def test_a_workshop_that_is_taken_for_abandoned_before_its_lock_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = tempfile.mkdtemp
    made: list[str] = []

    def removed_at_first(*, dir: Path) -> str:  # noqa: A002 - mkdtemp's own name
        made.append(make(dir=dir))
        if len(made) == 1:
            Path(made[0]).rmdir()
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", removed_at_first)
    with open_tree(tmp_path) as tree:
        assert tree.workshop == Path(made[1])
        assert tree.workshop.is_dir()
