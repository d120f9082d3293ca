"""Sdists that are themselves the attack: what unpacking them does, outside of any sandbox."""

import bz2
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable

from piwheels_builder.states import Outcome
from tests.hostile.attack import Attack, Make, Places, tar_of
from tests.support.chaos import LONG
from tests.support.sdists import SETUPTOOLS

_SETUP = b"from setuptools import setup\nsetup(name='demo', version='1.0', py_modules=['demo'])\n"
_PROJECT = {"demo-1.0/pyproject.toml": SETUPTOOLS.encode(), "demo-1.0/setup.py": _SETUP, "demo-1.0/demo.py": b"ANSWER = 42\n"}
_MIB = 2**20


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644, size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.size = kind, link, mode, size
    return info


def _with(*members: tarfile.TarInfo) -> Make:
    return lambda _: tar_of(_PROJECT, members)


def _with_places(choose: Callable[[Places], list[tarfile.TarInfo]]) -> Make:
    return lambda places: tar_of(_PROJECT, choose(places))


def _zip(*members: tuple[str | zipfile.ZipInfo, bytes | int], compression: int = zipfile.ZIP_DEFLATED) -> Make:
    """Members with their content; a number stands for so many zeros."""

    def make(_: Places) -> bytes:
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", compression, compresslevel=1) as archive:
            for name, content in (*_PROJECT.items(), *members):
                archive.writestr(name, bytes(content))
        return made.getvalue()

    return make


def _zip_member(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def _bomb_of_tar(size: int) -> Make:
    """Zeros of this size; bzip2 makes a millionth of them."""

    def make(_: Places) -> bytes:
        header = member("demo-1.0/zeros", size=size).tobuf()
        zeros = bz2.compress(b"\0" * 16 * _MIB)
        return bz2.compress(header) + zeros * (size // (16 * _MIB))

    return make


def _hungry_xz(_: Places) -> bytes:
    """Its decompressor must keep 1 GiB, all of it written to, if it is let."""
    window = 1024 if LONG else 200
    packer = lzma.LZMACompressor(
        filters=[{"id": lzma.FILTER_LZMA2, "dict_size": window * _MIB, "mode": lzma.MODE_FAST, "mf": lzma.MF_HC3}]
    )
    size = (window - 1) * _MIB
    pieces = [packer.compress(member("demo-1.0/zeros", size=size).tobuf())]
    pieces += [packer.compress(b"\0" * _MIB) for _ in range(window - 1)]
    return b"".join([*pieces, packer.flush()])


def _many(_: Places) -> bytes:
    """More members than an sdist may have."""
    block = b"".join(member(f"demo-1.0/{number}").tobuf() for number in range(1000))
    return bz2.compress(block, 1) * 201


_REFUSED = (Outcome.BAD_SDIST,)
_BUILT = (Outcome.BUILT,)

ATTACKS: tuple[Attack, ...] = (
    Attack(
        "absolute_path",
        "has a member with an absolute path",
        _with_places(lambda places: [member(f"{places.outside}/beside", size=5)]),
        _REFUSED,
    ),
    Attack(
        "climbing_path",
        "has a member whose path climbs out",
        _with(member("demo-1.0/" + "../" * 20 + "etc/evil", size=5)),
        _REFUSED,
    ),
    Attack(
        "symlink_out",
        "has a symbolic link to a directory outside, and a member below that link",
        _with_places(
            lambda places: [member("demo-1.0/out", tarfile.SYMTYPE, places.outside), member("demo-1.0/out/beside", size=5)]
        ),
        _REFUSED,
    ),
    Attack(
        "symlink_out_later",
        "has a link inside to a directory that a later member makes a link outside",
        _with(
            member("demo-1.0/a", tarfile.SYMTYPE, "b"),
            member("demo-1.0/b", tarfile.SYMTYPE, "../../../../outside"),
            member("demo-1.0/a/beside", size=5),
        ),
        _REFUSED,
    ),
    Attack(
        "symlink_as_pyproject",
        "has a pyproject.toml that is a link to a file of the host, to see it in an error",
        lambda places: tar_of(
            {"demo-1.0/setup.py": _SETUP}, [member("demo-1.0/pyproject.toml", tarfile.SYMTYPE, f"{places.home}/.pgpass")]
        ),
        _REFUSED,
    ),
    Attack(
        "hardlink_out",
        "has a hard link to a file of the host",
        _with_places(lambda places: [member("demo-1.0/demo2.py", tarfile.LNKTYPE, f"{places.home}/.ssh/id_ed25519")]),
        _REFUSED,
    ),
    Attack(
        "hardlink_through_a_symlink",
        "has a hard link to a link, to reach what that leads to",
        _with(member("demo-1.0/a", tarfile.SYMTYPE, "setup.py"), member("demo-1.0/b", tarfile.LNKTYPE, "demo-1.0/a")),
        _REFUSED,
    ),
    Attack(
        "device", "has a block device: the host's first disk", _with(member("demo-1.0/disk", tarfile.BLKTYPE, mode=0o666)), _REFUSED
    ),
    Attack(
        "pipe", "has a named pipe, which holds up whoever reads it", _with(member("demo-1.0/demo.txt", tarfile.FIFOTYPE)), _REFUSED
    ),
    Attack("setuid", "has a program that is setuid root", _with(member("demo-1.0/sh", mode=0o4755)), _REFUSED),
    Attack(
        "odd_names",
        "has names with newlines, quotes, escapes, other encodings and leading dashes",
        _with(
            *(
                member(f"demo-1.0/{name}", size=1)
                for name in ("a\nb", "-rf", "c'\"`$(x)", "\x1b[31mred", "\udcff\udcfe.py", "e\u0301", "CON", " ")
            )
        ),
        _BUILT,
    ),
    Attack("long_names", "has names longer than the file system takes", _with(member("demo-1.0/" + "n" * 1000)), _REFUSED),
    Attack("deep", "has directories in directories, 2,000 deep", _with(member("demo-1.0/" + "d/" * 2000 + "x")), _REFUSED),
    Attack("tar_bomb", "unpacks to more than a disk holds", _bomb_of_tar((8 if LONG else 3) * 1024 * _MIB), _REFUSED),
    # A minute of making files: what bounds it is looked at in tests/unit too.
    *([Attack("many_members", "has more than 200,000 members", _many, _REFUSED, seconds=180.0)] if LONG else []),
    Attack("hungry_xz", "is compressed so that unpacking it takes hundreds of MiB of memory", _hungry_xz, (*_REFUSED, *_BUILT)),
    Attack(
        "zip_bomb",
        "is a zip file that unpacks to more than a disk holds",
        _zip(*((f"demo-1.0/{number}", (300 if LONG else 100) * _MIB) for number in range(8 if LONG else 24))),
        _REFUSED,
    ),
    Attack("zip_climbing", "is a zip file with a path that climbs out", _zip(("demo-1.0/../../beside", b"x")), _REFUSED),
    Attack(
        "zip_symlink", "is a zip file with a link out of it", _zip((_zip_member("demo-1.0/x", 0o120777), b"/etc/passwd")), _REFUSED
    ),
    Attack(
        "two_projects",
        "holds two projects, so that one is looked at and the other built",
        _with(member("other-1.0/setup.py")),
        _REFUSED,
    ),
    Attack("nothing", "holds no project at all", lambda _: tar_of({"demo-1.0/README": b"hello"}), _REFUSED),
    Attack("truncated", "ends in the middle", lambda _: tar_of(_PROJECT)[:200], _REFUSED),
    Attack("no_archive", "is no archive", lambda _: b"\x1f\x8b" + b"no archive at all" * 100, _REFUSED),
)
