"""What a wheelhouse reads: requirements, locks, markers of the target, lists of what a Pi has; and the installer's own checks."""

import platform
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from packaging.markers import Marker
from packaging.version import Version

from piwheels_builder.errors import BadInput
from piwheels_builder.targets import Target
from piwheels_builder.wheelhouse.inside import install
from piwheels_builder.wheelhouse.present import read_present
from piwheels_builder.wheelhouse.python import TargetPython
from piwheels_builder.wheelhouse.required import read_required

PI1 = TargetPython.of(Target("cp311", "armv6l", "bookworm"))
LOCK = """
lock-version = "1.0"
created-by = "a test"
[[packages]]
name = "demo"
version = "1.0"
[[packages.wheels]]
url = "http://upstream.invalid/demo-1.0-py3-none-any.whl"
hashes = {sha256 = "%s"}
[[packages]]
name = "for-windows"
version = "2.0"
marker = "sys_platform == 'win32'"
sdist = {url = "http://upstream.invalid/for-windows-2.0.tar.gz", hashes = {sha256 = "0"}}
[[packages]]
name = "for-tests"
version = "3.0"
marker = "'test' in dependency_groups"
sdist = {url = "http://upstream.invalid/for-tests-3.0.tar.gz", hashes = {sha256 = "0"}}
"""


def write(place: Path, name: str, text: str) -> Path:
    path = place / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("marker", "holds"),
    [
        ("platform_machine == 'armv6l'", True),
        ("platform_machine == 'x86_64'", False),
        ("sys_platform == 'linux' and os_name == 'posix'", True),
        # Debian 12 has 3.11.2.
        ("python_full_version < '3.11.3'", True),
        ("python_version == '3.11' and implementation_name == 'cpython'", True),
        ("extra == 'more'", False),
    ],
)
def test_markers_are_those_of_the_target(marker: str, holds: bool) -> None:
    assert PI1.holds(Marker(marker)) is holds


def test_a_python_of_ones_own_is_named_whole() -> None:
    assert TargetPython.of(Target("cp313", "armv7l", "bookworm"), "3.13.1").version == "3.13.1"
    for wrong in ("3.12.1", "3.13", "new"):
        with pytest.raises(BadInput, match=r"write it like 3\.13\.2"):
            TargetPython.of(Target("cp313", "armv7l", "bookworm"), wrong)


def test_a_requirements_file_is_read_as_pip_reads_it(tmp_path: Path) -> None:
    write(tmp_path, "more.txt", "third\n")
    write(tmp_path, "bounds.txt", "second<2\nFourth==1\n")
    text = (
        "# a comment\n--index-url http://elsewhere.invalid\nFirst.Project[extra]>=1 ; python_version > '3.0'  # why\n"
        f"second==1.0 \\\n    --hash=sha256:{'A' * 64} \\\n    --hash sha256:{'b' * 64}\n"
        "windows ; sys_platform == 'win32'\n-r more.txt\n-c bounds.txt\n"
    )
    required = read_required([write(tmp_path, "requirements.txt", text)], PI1)
    assert [each.name for each in required.requirements] == ["First.Project", "second", "third"]
    assert {name: str(bound) for name, bound in required.constraints.items()} == {"second": "<2", "fourth": "==1"}
    assert required.hashes == {"second": {"a" * 64, "b" * 64}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-e .\n", "line 1: '-e .' is no requirement"),
        ("\n./demo.whl\n", "line 2"),
        ("demo @ http://elsewhere.invalid/demo.whl", "required by a URL"),
        ("-r requirements.txt\n", "round in a circle"),
        ("-r none.txt\n", r"none\.txt cannot be read"),
        ("windows ; sys_platform == 'win32'\n", "nothing is required for cp311-armv6l-bookworm"),
    ],
)
def test_what_cannot_be_required_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        read_required([write(tmp_path, "requirements.txt", text)], PI1)


def test_a_lock_file_is_read_for_the_target(tmp_path: Path) -> None:
    required = read_required([write(tmp_path, "pylock.toml", LOCK % ("c" * 64))], PI1)
    assert list(map(str, required.requirements)) == ["demo==1.0"]
    assert required.hashes == {"demo": {"c" * 64}}


@pytest.mark.parametrize("text", ["[", "lock-version = '9'", LOCK % "x" + "\n[[packages]]\nname='here'\ndirectory={path='.'}"])
def test_a_lock_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadInput, match=r"pylock\.toml"):
        read_required([write(tmp_path, "pylock.toml", text)], PI1)


def test_what_a_pi_has_is_read_from_its_own_lists(tmp_path: Path) -> None:
    frozen = write(tmp_path, "have.txt", "numpy==1.24.2\nDemo.Project==1.0+local\nhere @ file:///here\n-e git+x\n")
    packages = write(
        tmp_path,
        "apt.txt",
        "python3-yaml\t6.0-3+b2\npython3-serial:all 3.5-1.1\npython3-foo\t1:2.0~rc1+dfsg-1\nlibc6:armhf\t2.36-9\n"
        "python3-smbus\t4.3-2\n",
    )
    assert read_present([frozen, packages]) == {
        "numpy": Version("1.24.2"),
        "demo-project": Version("1.0+local"),
        "pyyaml": Version("6.0"),
        "pyserial": Version("3.5"),
        "foo": Version("2.0rc1"),
    }
    with pytest.raises(BadInput, match="pip freeze --all"):
        read_present([write(tmp_path, "wrong.txt", "Package    Version\n")])


# RFC 8032, 7.1, tests 1 to 3.
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
]


@pytest.mark.parametrize(("key", "message", "signature"), [tuple(map(bytes.fromhex, vector)) for vector in VECTORS])
def test_the_installer_knows_signatures(key: bytes, message: bytes, signature: bytes) -> None:
    assert install.is_signed(key, message, signature)
    assert not install.is_signed(key, message + b"!", signature)
    assert not install.is_signed(key, message, signature[:-1] + bytes([signature[-1] ^ 1]))
    assert not install.is_signed(key, message, signature[:1] + bytes([signature[1] ^ 1]) + signature[2:])
    # The same scalar plus the group's order is the same number there: malleable, so refused (5.1.7).
    scalar = int.from_bytes(signature[32:], "little") + install.ORDER
    assert not install.is_signed(key, message, signature[:32] + scalar.to_bytes(32, "little"))
    assert not install.is_signed(b"\xff" * 32, message, signature)
    assert not install.is_signed(key, message, b"")


def test_the_installer_and_cryptography_agree() -> None:
    private = Ed25519PrivateKey.generate()
    assert install.is_signed(private.public_key().public_bytes_raw(), b"manifest", private.sign(b"manifest"))
    assert not install.is_signed(
        Ed25519PrivateKey.generate().public_key().public_bytes_raw(), b"manifest", private.sign(b"manifest")
    )


def test_a_machine_that_is_not_the_target_is_told_why() -> None:
    here = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    fits = {"target": f"{here}-{install.this_architecture()}-bookworm", "glibc": [2, 5], "expects": {"pytest": pytest.__version__}}
    assert list(install.misfits(fits)) == []
    other = {"target": "cp39-armv0-bookworm", "glibc": [9, 9], "expects": {"pytest": "0", "unheard-of": "1"}}
    told = "\n".join(install.misfits(other))
    for part in (
        platform.python_version(),
        "for armv0",
        "older than that of bookworm",
        f"{pytest.__version__} is",
        "unheard-of 1 was",
    ):
        assert part in told
