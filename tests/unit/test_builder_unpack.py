"""Archives of every kind, honest and not: what is unpacked lies inside, and what is refused leaves nothing outside."""

import bz2
import gzip
import io
import lzma
import os
import random
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from piwheels_builder.builder.ending import BuildEnded
from piwheels_builder.builder.unpack import Bounds, unpack
from piwheels_builder.states import Outcome


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644, size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.size = kind, link, mode, size
    return info


def tar(*members: tarfile.TarInfo) -> bytes:
    """A tar file with a project and these members."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", errors="surrogateescape") as archive:
        archive.addfile(member("demo-1.0/setup.py"))
        for info in members:
            archive.addfile(info, io.BytesIO(b"x" * info.size))
    return made.getvalue()


@pytest.fixture
def into(tmp_path: Path) -> Path:
    """An empty directory to unpack into, with something beside it that must stay as it is."""
    (tmp_path / "beside").write_text("untouched")
    (tmp_path / "into").mkdir()
    return tmp_path / "into"


def unpacked(content: bytes, into: Path, bounds: Bounds | None = None) -> Path:
    archive = into.parent / "archive"
    archive.write_bytes(content)
    return unpack(archive, into, bounds)


def refused(content: bytes, into: Path, reason: str = "", bounds: Bounds | None = None) -> None:
    with pytest.raises(BuildEnded) as ended:
        unpacked(content, into, bounds)
    assert ended.value.outcome is Outcome.BAD_SDIST
    assert reason in ended.value.reason
    assert {path.name for path in into.parent.iterdir()} == {"beside", "into", "archive"}
    assert (into.parent / "beside").read_text() == "untouched"


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress], ids=["tar", "gz", "bz2", "xz"])
def test_every_kind_of_tar(into: Path, compress: Callable[[bytes], bytes]) -> None:
    source = unpacked(compress(tar(member("demo-1.0/a/b/c.py", size=3))), into)
    assert source == into / "demo-1.0"
    assert (source / "a/b/c.py").read_text() == "xxx"


def test_a_zip(into: Path) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("demo-1.0/setup.py", "x")
        script = zipfile.ZipInfo("demo-1.0/run.sh")
        script.external_attr = 0o100755 << 16
        archive.writestr(script, "x")
        archive.writestr("demo-1.0/docs/", "")
    source = unpacked(made.getvalue(), into)
    assert os.access(source / "run.sh", os.X_OK)
    assert not os.access(source / "setup.py", os.X_OK)
    assert (source / "docs").is_dir()


def test_modes_are_made_plain(into: Path) -> None:
    source = unpacked(
        tar(
            member("demo-1.0/a", mode=0),
            member("demo-1.0/b", mode=0o4755 & 0o777),
            member("demo-1.0/d", tarfile.DIRTYPE, mode=0o2000),
        ),
        into,
    )
    umask = os.umask(0)
    os.umask(umask)
    assert [(source / name).stat().st_mode & 0o7777 for name in "abd"] == [mode & ~umask for mode in (0o644, 0o755, 0o755)]


@pytest.mark.parametrize(
    "name", ["demo-1.0/caf\udce9.py", "demo-1.0/\u732b.txt", "demo-1.0/a b\n'\"\\c", "./demo-1.0//./x", "demo-1.0/-rf"]
)
def test_odd_names_survive(into: Path, name: str) -> None:
    source = unpacked(tar(member(name, size=1)), into)
    assert len(list(source.iterdir())) == 2


def test_links_inside_are_kept(into: Path) -> None:
    links = [
        member("demo-1.0/a/link", tarfile.SYMTYPE, "../setup.py"),
        member("demo-1.0/up", tarfile.SYMTYPE, "a/link"),
        member("demo-1.0/hard", tarfile.LNKTYPE, "demo-1.0/setup.py"),
        member("demo-1.0/dangling", tarfile.SYMTYPE, "nowhere"),
    ]
    source = unpacked(tar(*links), into)
    assert (source / "up").resolve() == (source / "hard").resolve().with_name("setup.py")


def test_the_later_of_two_members_of_one_name(into: Path) -> None:
    assert (unpacked(tar(member("demo-1.0/a", size=1), member("demo-1.0/a", size=2)), into) / "a").stat().st_size == 2


@pytest.mark.parametrize(
    "members",
    [
        [member("/etc/evil")],
        [member("../beside", size=1)],
        [member("demo-1.0/../../beside", size=1)],
        [member("demo-1.0/x", tarfile.SYMTYPE, "/etc/passwd")],
        [member("demo-1.0/x", tarfile.SYMTYPE, "../../beside")],
        [member("demo-1.0/x", tarfile.SYMTYPE, "a/../../../beside")],
        [member("demo-1.0/x", tarfile.SYMTYPE, "")],
        # A link to the directory itself, then a link that climbs out of it.
        [member("demo-1.0/s", tarfile.SYMTYPE, "."), member("demo-1.0/t", tarfile.SYMTYPE, "s/..")],
        # A file through a link.
        [member("demo-1.0/s", tarfile.SYMTYPE, "a"), member("demo-1.0/s/x", size=1)],
        [member("demo-1.0/s", tarfile.SYMTYPE, "a"), member("demo-1.0/s", tarfile.DIRTYPE), member("demo-1.0/s/x", size=1)],
        [member("demo-1.0/x", tarfile.LNKTYPE, "/etc/passwd")],
        [member("demo-1.0/x", tarfile.LNKTYPE, "../beside")],
        [member("demo-1.0/x", tarfile.LNKTYPE, "demo-1.0/nowhere")],
        [member("demo-1.0/s", tarfile.SYMTYPE, "setup.py"), member("demo-1.0/x", tarfile.LNKTYPE, "demo-1.0/s")],
        [member("demo-1.0/x", tarfile.LNKTYPE, "demo-1.0")],
        [member("demo-1.0/x", tarfile.CHRTYPE)],
        [member("demo-1.0/x", tarfile.BLKTYPE)],
        [member("demo-1.0/x", tarfile.FIFOTYPE)],
        [member("demo-1.0/x", mode=0o4755)],
        [member("demo-1.0/x", mode=0o2755)],
        [member("demo-1.0/" + "x" * 300)],
        [member("demo-1.0/" + "x/" * 200)],
        [member("demo-1.0/" + "x" * 200 + "/" + ("y" * 200 + "/") * 20)],
        [member("demo-1.0", size=1)],
        [member("demo-1.0/setup.py/x")],
        [member(".", size=1)],
    ],
)  # fmt: skip
def test_what_no_honest_sdist_has(into: Path, members: list[tarfile.TarInfo]) -> None:
    refused(tar(*members), into)


def test_bounds(into: Path) -> None:
    refused(tar(*(member(f"demo-1.0/{number}") for number in range(20))), into, "more than 10 members", Bounds(members=10))


def test_more_than_the_disk_should_hold(into: Path) -> None:
    refused(tar(*(member(f"demo-1.0/{name}", size=600) for name in "ab")), into, "more than allowed", Bounds(total=1000))


def test_a_tar_bomb_costs_nothing(into: Path) -> None:
    """A header that announces 100 GiB, before a gzip stream of a GiB of zeros that nobody needs to read."""
    header = member("demo-1.0/big", size=100 * 2**30).tobuf()
    bomb = gzip.compress(header) + gzip.compress(b"\0" * 2**20) * 1024
    began = time.monotonic()
    refused(bomb, into, "more than")
    assert time.monotonic() - began < 2


def test_huge_metadata_is_not_read(into: Path) -> None:
    header = member("x", tarfile.XHDTYPE, size=2**30).tobuf()
    refused(gzip.compress(header) + gzip.compress(b"\0" * 2**20) * 1024, into, "metadata")


def test_a_zip_bomb(into: Path) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("demo-1.0/setup.py", b"\0" * 10**7)
    refused(made.getvalue(), into, "more than", Bounds(total=10**6))


def test_a_zip_whose_list_of_members_alone_fills_the_memory(into: Path) -> None:
    """zipfile would read the list whole before the first member is seen."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for number in range(300):
            archive.writestr(zipfile.ZipInfo(f"{number}" + "x" * 60_000), b"")
    refused(made.getvalue(), into, "a list of members of")


def test_zip_members_that_are_no_files(into: Path) -> None:
    for mode, target in ((0o120777, "/etc/passwd"), (0o020666, ""), (0o104755, "x")):
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:
            info = zipfile.ZipInfo("demo-1.0/x")
            info.external_attr = mode << 16
            archive.writestr(info, target)
        refused(made.getvalue(), into)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x1f\x8b",
        b"BZ",
        b"\xfd7zXZ\0",
        b"PK\x03\x04",
        b"<html>404</html>",
        gzip.compress(b"no tar"),
        gzip.compress(tar())[:-30],
    ],
    # Not by their content, which tells the time: every test process must give the same names.
    ids=["empty", "gzip magic", "bzip2 magic", "xz magic", "zip magic", "html", "no tar", "cut off"],
)
def test_what_is_no_archive(into: Path, content: bytes) -> None:
    refused(content, into)


def test_an_archive_without_a_project(into: Path) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(member("demo-1.0/README"))
    refused(made.getvalue(), into, "holds no project")


def test_two_projects_in_one_archive(into: Path) -> None:
    refused(tar(member("other-1.0/setup.py")), into, "holds 2 projects")


def test_a_full_disk_is_not_the_archives_fault(into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        unpacked(tar(), into)


def test_mutated_archives_never_crash_it(tmp_path: Path) -> None:
    chance = random.Random(1)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("demo-1.0/setup.py", "x" * 1000)
    whole = tar(member("demo-1.0/" + "long/" * 30 + "x", size=100), member("demo-1.0/l", tarfile.SYMTYPE, "setup.py"))
    outcomes = set()
    for number in range(300):
        mutated = bytearray(
            chance.choice([whole, gzip.compress(whole), bz2.compress(whole), lzma.compress(whole), made.getvalue()])
        )
        for _ in range(chance.choice([1, 4, 30])):
            mutated[chance.randrange(len(mutated))] = chance.randrange(256)
        place = tmp_path / str(number) / "into"
        place.mkdir(parents=True)
        try:
            unpacked(bytes(mutated), place)
            outcomes.add("unpacked")
        except BuildEnded as ended:
            assert ended.outcome is Outcome.BAD_SDIST
            outcomes.add("refused")
        assert {path.name for path in place.parent.iterdir()} == {"into", "archive"}
    assert outcomes == {"unpacked", "refused"}
