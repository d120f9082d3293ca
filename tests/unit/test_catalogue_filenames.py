"""File names as upstream really has them, and worse: each is classified or refused with a reason, never a crash."""

import random
import string
import time

import pytest

from piwheels_builder.catalogue.filenames import LONGEST_NAME, FileKind, classify

SDISTS = [
    ("docopt", "docopt-0.6.2.tar.gz", "0.6.2"),
    ("spidev", "spidev-3.0.tar.gz", "3"),
    ("spidev", "spidev-3.8.0.0.tar.gz", "3.8"),
    ("pytz", "pytz-2004d.tar.gz", None),
    ("pytz", "pytz-2016.10.zip", "2016.10"),
    ("pytz", "pytz-2016.10.tar.bz2", "2016.10"),
    ("old", "old-0.1.tgz", "0.1"),
    ("new", "new-0.1.tar.xz", "0.1"),
    # The project's name tells where the version begins.
    ("python-ldap", "python-ldap-2.0.0-pre01.tar.gz", "2rc1"),
    ("foo", "foo-1.0-1.tar.gz", "1.post1"),
    ("foo", "foo-2.tar.gz", "2"),
    ("foo-2", "foo-2.tar.gz", None),
    ("foo-2", "foo-2-1.0.tar.gz", "1"),
    ("foo", "foo-2-1.0.tar.gz", None),
    ("1-2", "1-2-3.tar.gz", "3"),
    ("1", "1-2-3.tar.gz", "2.post3"),
    ("3", "3-3.tar.gz", "3"),
    # Spellings of a name: case, dots, underscores, runs of them.
    ("zope-interface", "zope.interface-5.4.0.tar.gz", "5.4"),
    ("zope-interface", "zope_interface-7.2.tar.gz", "7.2"),
    ("zope-interface", "Zope--Interface-3.0.tar.gz", "3"),
    ("rpi-gpio", "RPi.GPIO-0.7.1.tar.gz", "0.7.1"),
    ("ruamel-yaml-clib", "ruamel.yaml.clib-0.2.8.tar.gz", "0.2.8"),
    ("a-b", "A_.-b-1.0.zip", "1"),
    # Spellings of a version.
    ("foo", "foo-1!2.0.tar.gz", "1!2"),
    ("foo", "foo-1_2.0.tar.gz", None),
    ("foo", "foo-1%212.0.tar.gz", None),
    ("foo", "foo-1.0+local.1.tar.gz", "1+local.1"),
    ("foo", "foo-1.0+Ubuntu-1_x.zip", "1+ubuntu.1.x"),
    ("foo", "foo-v1.0.tar.gz", "1"),
    ("foo", "foo-1.0RC1.tar.gz", "1rc1"),
    ("foo", "foo-1.0.dev20210101.tar.gz", "1.dev20210101"),
    ("foo", "foo-1.0c1.post2.dev3.tar.gz", "1rc1.post2.dev3"),
    ("foo", "foo-1.0-alpha.tar.gz", "1a0"),
    ("foo", "foo-1.0_beta_2.tar.gz", "1b2"),
    ("foo", "foo-1.0-r4.tar.gz", "1.post4"),
    ("foo", "foo-00.01.tar.gz", "0.1"),
    ("foo", "foo-0.tar.gz", "0"),
    ("foo", "foo-0.0.0.tar.gz", "0"),
    ("foo", "foo-20260101000000000000000000001.tar.gz", "20260101000000000000000000001"),
    ("foo", "foo-1.tar.tar.gz", None),
    ("foo", "foo-1.0.tar.gz.tar.gz", None),
]
WHEELS = [
    ("docopt", "docopt-0.6.2-py2.py3-none-any.whl", "0.6.2"),
    ("numpy", "numpy-2.5.5-cp313-cp313-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl", "2.5.5"),
    ("numpy", "numpy-1.9.0-1-cp34-none-win_amd64.whl", "1.9"),
    ("zope-interface", "zope.interface-5.4.0-cp39-cp39-macosx_10_14_x86_64.whl", "5.4"),
    ("rpi-gpio", "RPi.GPIO-0.7.1-cp311-cp311-linux_armv6l.whl", "0.7.1"),
    ("foo", "foo-1.0+local_1-py3-none-any.whl", "1+local.1"),
    ("foo", "foo-1!2.0-2024build-py3-none-any.whl", "1!2"),
    ("cryptography", "cryptography-50.0.1-cp311-abi3.abi3t-manylinux_2_31_armv7l.whl", "50.0.1"),
]
REFUSED = [
    ("jinja2", "Jinja2-2.0-py2.4.egg", "egg"),
    ("jinja2", "Jinja2-2.0rc1-py2.4-linux-i686.egg", "egg"),
    ("pillow", "Pillow-2.0.0.win-amd64-py2.6.exe", "Windows"),
    ("foo", "foo-1.0.win32-py3.1.msi", "Windows"),
    ("setuptools", "setuptools-0.6c10-1.src.rpm", "RPM"),
    ("foo", "foo-1.0-1.noarch.rpm", "RPM"),
    ("foo", "python3-foo_1.0-1_all.deb", "Debian"),
    ("foo", "foo-1.0.dmg", "disk image"),
    ("foo", "foo-1.0.linux-x86_64.tar.gz", "dumb"),
    ("foo", "foo-1.0-linux-x86_64.tar.gz", "dumb"),
    ("foo", "foo-1.0.macosx-10.9-x86_64.tar.gz", "dumb"),
    ("foo", "foo-1.0.win32.zip", "dumb"),
    ("foo", "foo-1.0.tar.Z", "do not unpack"),
    ("foo", "foo-1.0.tar.lzma", "do not unpack"),
    ("foo", "foo-1.0.tar", "do not unpack"),
    ("foo", "foo-1.0-py3-none-any.whl.metadata", "metadata"),
    ("foo", "foo-1.0.tar.gz.asc", "signature"),
    ("foo", "foo-1.0.tar.gz.provenance", "provenance"),
    ("foo", "foo-1.0.TAR.GZ", "neither"),
    ("foo", "foo-1.0.jar", "neither"),
    ("foo", "foo-1.0", "neither"),
    ("foo", "foo", "neither"),
    ("foo", ".tar.gz", "does not begin"),
    ("foo", "foo-.tar.gz", "PEP 440"),
    ("foo", "foo--1.0.tar.gz", "PEP 440"),
    ("foo", "foo-latest.tar.gz", "PEP 440"),
    ("foo", "foo_1.0.tar.gz", "does not begin"),
    ("foo", "foobar-1.0.tar.gz", "does not begin"),
    ("foo", "bar-1.0.tar.gz", "does not begin"),
    ("foo", "bar-1.0-py3-none-any.whl", "a wheel of bar"),
    ("foo", "foo-1.0.whl", "not a wheel"),
    ("foo", "foo-1.0-py3-none.whl", "not a wheel"),
    ("foo", "foo-bad-py3-none-any.whl", "not a wheel"),
    ("foo", "foo-1.0-x1-py3-none-any.whl", "not a wheel"),
    ("pydantic", "pydantic-0.18-py36+-none-any.whl", "not a wheel"),
    ("foo", "foo-1_2.0-py3-none-any.whl", "not a wheel"),
    ("foo", "foo-1.0-" + ".".join(f"py{n}" for n in range(30)) + "-none-" + ".".join(f"p{n}" for n in range(20)) + ".whl", "tags"),
    ("foo", "", "empty"),
    ("foo", "foo-1.0.tar.gz" * 20, "longer"),
    ("foo", "../foo-1.0.tar.gz", "'/'"),
    ("foo", "foo-1.0/../../etc/passwd.tar.gz", "'/'"),
    ("foo", "foo\\foo-1.0.tar.gz", r"'\\'"),
    ("foo", "foo-1.0\n.tar.gz", r"'\n'"),
    ("foo", "foo-1.0.tar.gz\0", r"'\x00'"),
    ("foo", "foo- 1.0.tar.gz", "' '"),
    ("foo", "foo-1.0<script>.tar.gz", "'<'"),
    ("foo", "fоo-1.0.tar.gz", r"'\u043e'"),  # noqa: RUF001 - a Cyrillic o
    ("foo", "foo-1.0po\u017ft1.tar.gz", r"'\u017f'"),
    ("foo", "foo-\u0661.0.tar.gz", r"'\u0661'"),
    ("foo", "foo-1.0\u202egz.tar.gz", r"'\u202e'"),
    ("foo", "foo-1.0\ud800.tar.gz", r"'\ud800'"),
]


@pytest.mark.parametrize(("project", "filename", "version"), SDISTS)
def test_sdist(project: str, filename: str, version: str | None) -> None:
    name = classify(project, filename)
    if version is None:
        assert name.kind is FileKind.REFUSED
        assert name.refusal
    else:
        assert (name.kind, name.canonical_version, name.refusal) == (FileKind.SDIST, version, None)


@pytest.mark.parametrize(("project", "filename", "version"), WHEELS)
def test_wheel(project: str, filename: str, version: str) -> None:
    name = classify(project, filename)
    assert (name.kind, name.canonical_version, name.refusal) == (FileKind.WHEEL, version, None)


@pytest.mark.parametrize(("project", "filename", "reason"), REFUSED)
def test_refused(project: str, filename: str, reason: str) -> None:
    name = classify(project, filename)
    assert name.kind is FileKind.REFUSED
    assert name.refusal is not None
    assert reason in name.refusal
    # It may end up in a log or on a terminal.
    assert name.refusal.isprintable()


def test_a_refused_file_says_which_release_it_seems_to_be_of() -> None:
    seeming = {
        name: classify("foo", name).canonical_version for name in ("foo-1.0.win32-py2.7.exe", "foo-1.5-py2.4.egg", "bar.exe")
    }
    assert seeming == {"foo-1.0.win32-py2.7.exe": "1", "foo-1.5-py2.4.egg": "1.5", "bar.exe": None}


def test_names_of_any_length_up_to_the_limit() -> None:
    longest = "foo-" + "1" * (LONGEST_NAME - len("foo-.zip")) + ".zip"
    assert classify("foo", longest).kind is FileKind.SDIST
    assert classify("foo", longest.replace("foo", "foo-1", 1)).kind is FileKind.REFUSED


def test_noise_is_classified_or_refused_and_soon() -> None:
    """Pieces of real names, thrown together: 20,000 of them, each in far less than a second."""
    dice = random.Random(20260101)
    pieces = [
        "foo",
        "-",
        "-",
        ".",
        "_",
        "1",
        "0",
        "!",
        "+",
        "rc",
        "post",
        "dev",
        "py3",
        "none",
        "any",
        "linux_armv7l",
        "\0",
        "é",
        "/",
    ]
    pieces += [".tar.gz", ".whl", ".zip", ".egg", ".exe", "win32", *string.punctuation]
    for _ in range(20_000):
        filename = "foo-" * dice.randrange(2) + "".join(dice.choices(pieces, k=dice.randrange(40)))
        began = time.monotonic()
        name = classify("foo", filename)
        assert time.monotonic() - began < 1, filename
        assert (name.kind is FileKind.REFUSED) == (name.refusal is not None), filename
        assert name.kind is FileKind.REFUSED or name.version is not None, filename
