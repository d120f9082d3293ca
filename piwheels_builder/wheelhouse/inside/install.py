"""Install this wheelhouse on a machine without a network:  python3 install.py DIRECTORY

DIRECTORY becomes a virtual environment, or is one; it also sees what is installed for the whole machine. Every file is checked
before anything is changed, and with --key FILE.pub the signature is, too. Nothing is needed but this machine's Python and pip.

A copy of this script that came another way can check a bundle:  python3 install.py --bundle PLACE --check --key FILE.pub
"""

# Runs on whatever Python the target has, 3.9 and newer, by the standard library alone.
from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import struct
import subprocess
import sys
import venv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

#: As in sysexits.h: damaged data, something that is needed is not there.
DAMAGED, LACKING = 65, 69
MANIFEST = "manifest.json"
_CHUNK = 2**20
#: The curve of Ed25519 (RFC 8032, 5.1): its field, the order of its base point, and constants that follow from them.
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)
#: A point of it in extended coordinates.
Point = tuple[int, int, int, int]
#: What comes before the 32 bytes of an Ed25519 key in a public key (RFC 8410).
KEY_PREFIX = bytes.fromhex("302a300506032b6570032100")


class Refused(Exception):
    """Nothing was changed. ``code`` is what the script ends with."""

    def __init__(self, code: int, summary: str, lines: Iterable[str] = ()) -> None:
        super().__init__("\n  ".join([summary, *lines]))
        self.code = code


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, then install. Returns the exit code: 0, DAMAGED, LACKING, or pip's."""
    options = parse(arguments)
    try:
        manifest = read_manifest(options.bundle, options.key)
        refuse(DAMAGED, "the bundle is damaged, copy it again:", damage(options.bundle, manifest["files"]))
        print(
            f"{len(manifest['files'])} files are as they were made"
            + ("" if options.key else "; who made them was not asked (--key)")
        )
        if options.check:
            return 0
        refuse(LACKING, "this machine is not what the bundle was made for:", misfits(manifest))
        return install(options.bundle, Path(options.directory), set(manifest["installs"]))
    except Refused as refused:
        print(refused, file=sys.stderr)
        return refused.code


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", metavar="DIRECTORY", help="the virtual environment")
    parser.add_argument("--key", type=Path, metavar="FILE.pub", help="refuse what was not signed by this key")
    parser.add_argument("--check", action="store_true", help="check the files and install nothing")
    parser.add_argument("--bundle", type=Path, metavar="PLACE", default=Path(__file__).resolve().parent, help="default: here")
    options = parser.parse_args(arguments)
    if not options.directory and not options.check:
        parser.error("say where to install, like: python3 install.py environment")
    return options


def refuse(code: int, summary: str, lines: Iterable[str]) -> None:
    """Raise Refused if there are any lines."""
    if listed := list(lines):
        raise Refused(code, summary, listed)


def read_manifest(bundle: Path, key: Path | None) -> dict[str, Any]:
    """The manifest, its signature checked where there is a key. Raises Refused."""
    text = content_of(bundle / MANIFEST)
    if key and not is_signed(public_key(key), text, signature_of(bundle)):
        raise Refused(DAMAGED, f"{MANIFEST} was not signed by the key of {key}, or was changed since: do not use this bundle")
    try:
        manifest = json.loads(text)
        known = manifest["format"] == 1 and {"files", "expects", "installs", "target"} <= set(manifest)
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(DAMAGED, f"{MANIFEST} is damaged, copy the bundle again: {error}") from error
    if not known:
        raise Refused(DAMAGED, f"{MANIFEST} is of another version than this script: use the script that came with it")
    return dict(manifest)


def content_of(path: Path) -> bytes:
    """A whole file. Raises Refused."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise Refused(DAMAGED, f"{path} cannot be read ({error.strerror}): copy the bundle again, whole") from error


def damage(bundle: Path, files: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Of all files that are not as listed, a line each."""
    for name, listed in sorted(files.items()):
        try:
            sha256, size = digest(bundle / name)
        except OSError as error:
            yield f"{name} cannot be read: {error.strerror}"
            continue
        if (sha256, size) != (listed["sha256"], listed["size"]):
            yield f"{name} is another file: {size} bytes, sha256 {sha256}; listed: {listed['size']} bytes, {listed['sha256']}"


def digest(path: Path) -> tuple[str, int]:
    """sha256 and size of a file, of which a small Pi may not have the memory."""
    sha256, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            sha256.update(piece)
            size += len(piece)
    return sha256.hexdigest(), size


def misfits(manifest: dict[str, Any]) -> Iterator[str]:
    """Why this machine is not the target, a line each."""
    python, architecture, os_release = manifest["target"].split("-")
    here = f"{'pp' if sys.implementation.name == 'pypy' else 'cp'}{sys.version_info[0]}{sys.version_info[1]}"
    if here != python:
        yield f"its Python is {platform.python_implementation()} {platform.python_version()} ({here}), the wheels are for {python}"
    if this_architecture() != architecture:
        yield f"it is {this_architecture()}, the wheels are for {architecture}"
    glibc = this_glibc()
    if glibc and glibc < tuple(manifest["glibc"]):
        yield f"its C library is {glibc[0]}.{glibc[1]}, older than that of {os_release}, which the wheels are for"
    for project, version in sorted(manifest["expects"].items()):
        yield from lacks(project, version)


def lacks(project: str, version: str) -> Iterator[str]:
    """A line where a project is not installed here that was left out of the bundle because it is."""
    try:
        found = importlib.metadata.version(project)
    except importlib.metadata.PackageNotFoundError:
        yield f"{project} {version} was left out because it is here, and it is not (make the bundle again with a new list: --have)"
        return
    if found != version:
        yield f"{project} {version} was left out because it is here, and {found} is (make the bundle again with a new list: --have)"


def this_architecture() -> str:
    """As wheels' tags have it: a 32-bit Python under a 64-bit kernel is armv7l."""
    machine = platform.machine()
    if struct.calcsize("P") == 4:
        return {"aarch64": "armv7l", "armv8l": "armv7l", "x86_64": "i686"}.get(machine, machine)
    return machine


def this_glibc() -> tuple[int, int] | None:
    """Version of this machine's C library; None where it is another than glibc."""
    try:
        numbers = re.fullmatch(r"glibc (\d+)\.(\d+).*", os.confstr("CS_GNU_LIBC_VERSION") or "")
    except (ValueError, OSError, AttributeError):
        return None
    return (int(numbers[1]), int(numbers[2])) if numbers else None


def install(bundle: Path, directory: Path, projects: set[str]) -> int:
    """Make the environment and have its pip install. Returns pip's exit code. Raises Refused."""
    python = directory / "bin/python"
    if not python.exists():
        venv.create(directory, system_site_packages=True, with_pip=False, symlinks=True)
    # pip.conf of Raspberry Pi OS names an index; there is none here.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environment["PIP_CONFIG_FILE"] = os.devnull
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    if subprocess.run([*pip, "--version"], env=environment, capture_output=True, check=False).returncode:
        raise Refused(
            LACKING,
            f"{python} finds no pip: the package python3-pip is missing, or {sys.executable} is of a virtual environment itself; "
            "then take the machine's own, like /usr/bin/python3",
        )
    how = ["--no-index", "--find-links", str(bundle / "wheels"), "--only-binary", ":all:", "--no-deps", "--no-cache-dir"]
    command = [*pip, "install", *how, "--require-hashes", "--requirement", str(bundle / "requirements.txt")]
    code = subprocess.run(command, env=environment, check=False).returncode
    if code:
        print(f"pip could not install (exit code {code}): what it says above is why; run this again, it goes on", file=sys.stderr)
        return code
    return judge([*pip, "check"], environment, projects) or done(python)


def judge(check: list[str], environment: dict[str, str], projects: set[str]) -> int:
    """What pip finds missing of what was installed. Returns LACKING where there is something."""
    said = subprocess.run(check, env=environment, capture_output=True, text=True, check=False).stdout.splitlines()
    ours = [line for line in said if re.sub(r"[-_.]+", "-", line.partition(" ")[0]).lower() in projects]
    for line in ours:
        print(f"installed, but: {line}", file=sys.stderr)
    return LACKING if ours else 0


def done(python: Path) -> int:
    """Say so."""
    print(f"installed; run {python}")
    return 0


def public_key(path: Path) -> bytes:
    """The 32 bytes of a PEM file. Raises Refused."""
    lines = content_of(path).decode("ascii", "replace").split("-----")
    try:
        der = base64.b64decode("".join(lines[2].split()))
    except (ValueError, IndexError):
        der = b""
    if not der.startswith(KEY_PREFIX) or len(der) != len(KEY_PREFIX) + 32:
        raise Refused(DAMAGED, f"{path} holds no public Ed25519 key: it is the file that ends in .pub")
    return der[len(KEY_PREFIX) :]


def signature_of(bundle: Path) -> bytes:
    """Raises Refused where there is none."""
    if not (bundle / f"{MANIFEST}.sig").exists():
        raise Refused(DAMAGED, "the bundle is not signed: without --key its files are checked by their hashes alone")
    try:
        return base64.b64decode(content_of(bundle / f"{MANIFEST}.sig"))
    except ValueError:
        return b""


def is_signed(key: bytes, message: bytes, signature: bytes) -> bool:
    """Ed25519 (RFC 8032, 5.1.7). Knows no secret, so nothing depends on how long it takes: 0.1 s here, a few on a Pi 1."""
    if len(signature) != 64:
        return False
    commitment, signer = point(signature[:32]), point(key)
    scalar = int.from_bytes(signature[32:], "little")
    if commitment is None or signer is None or scalar >= ORDER:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % ORDER
    left, right = times(scalar, base_point()), plus(commitment, times(challenge, signer))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 == (left[1] * right[2] - right[1] * left[2]) % P


def base_point() -> Point:
    """The curve's generator."""
    found = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
    assert found
    return found


def point(encoded: bytes) -> Point | None:
    """RFC 8032, 5.1.3; None for what is no point."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if y >= P or (x * x - square) % P or (sign and not x):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def plus(one: Point, other: Point) -> Point:
    """RFC 8032, 5.1.4."""
    a = (one[1] - one[0]) * (other[1] - other[0]) % P
    b = (one[1] + one[0]) * (other[1] + other[0]) % P
    c = 2 * one[3] * other[3] * D % P
    d = 2 * one[2] * other[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(factor: int, of: Point) -> Point:
    """By doubling and adding."""
    result: Point = (0, 1, 1, 0)
    while factor:
        result = plus(result, of) if factor & 1 else result
        of, factor = plus(of, of), factor >> 1
    return result


if __name__ == "__main__":
    sys.exit(main())
