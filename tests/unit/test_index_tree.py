"""Writing into the published tree, and cleaning up after runs that were killed."""

import gzip
import tempfile
from pathlib import Path, PurePosixPath

import pytest

from piwheels_builder.errors import StorageFault
from piwheels_builder.index.tree import open_tree

PAGE = PurePosixPath("simple/de/demo.html")


def test_a_page_is_written_once_and_compressed(tmp_path: Path) -> None:
    with open_tree(tmp_path) as tree:
        assert tree.write({PAGE: b"one"})
        assert not tree.write({PAGE: b"one"})
        assert tree.write({PAGE: b"two"})
    assert not (tmp_path / PAGE).exists()
    assert gzip.decompress((tmp_path / f"{PAGE}.gz").read_bytes()) == b"two"
    assert (tmp_path / f"{PAGE}.gz").read_bytes()[4:8] == bytes(4)


@pytest.mark.parametrize("damage", [b"", b"garbage", gzip.compress(b"older", mtime=0)])
def test_a_damaged_page_is_written_again(tmp_path: Path, damage: bytes) -> None:
    with open_tree(tmp_path) as tree:
        tree.write({PAGE: b"one"})
        (tmp_path / f"{PAGE}.gz").write_bytes(damage)
        assert tree.write({PAGE: b"one"})
        assert gzip.decompress((tmp_path / f"{PAGE}.gz").read_bytes()) == b"one"


def test_a_removed_page_leaves_nothing_behind(tmp_path: Path) -> None:
    with open_tree(tmp_path) as tree:
        tree.write({PAGE: b"one"})
        assert tree.write({PAGE: None})
        assert not tree.write({PAGE: None})
    assert list((tmp_path / PAGE).parent.iterdir()) == []


def test_many_pages_at_once_say_which_changed(tmp_path: Path) -> None:
    pages = [{PurePosixPath(f"simple/pr/project{number}.html"): b"%d" % number} for number in range(200)]
    with open_tree(tmp_path) as tree:
        assert tree.write_each(pages) == list(range(200))
        assert tree.write_each([*pages[:7], {PurePosixPath("simple/pr/project7.html"): b"other"}]) == [7]
        assert tree.read(PurePosixPath("simple/pr/project199.html")) == b"199"


def test_pages_of_one_url_never_share_their_second(tmp_path: Path) -> None:
    general, special = PAGE, PurePosixPath("bookworm") / PAGE
    with open_tree(tmp_path) as tree:
        seconds = set()
        for content in (b"one", b"two", b"six"):
            tree.write({special: content, general: content[::-1]})
            seconds |= {int((tmp_path / f"{place}.gz").stat().st_mtime) for place in (special, general)}
    assert len(seconds) == 6


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
