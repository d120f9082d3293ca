"""A known_hosts file, as sshd(8) describes it: read, asked, changed line by line. What it holds besides stays as it is."""

import base64
import binascii
import fcntl
import hashlib
import hmac
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from piwheels_builder.errors import BadInput

_SSH_PORT = 22
_HASHED = "|1|"
#: What a type of key may be called (RFC 4251, 6), so that none brings a line of its own along.
_TYPE = re.compile(r"[a-zA-Z0-9@.-]{1,64}")


@dataclass(frozen=True)
class HostKey:
    """A public host key: ``type`` as in ssh-ed25519, and its base64."""

    type: str
    base64: str

    @classmethod
    def parse(cls, text: str) -> "HostKey":
        """Read ``type base64 [comment]``. Raises BadInput where the two don't belong together, or are no key."""
        kind, _, rest = text.strip().partition(" ")
        body = rest.split()[0] if rest.split() else ""
        try:
            raw = base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        # The key itself begins with the length and the name of its type (RFC 4253, 6.6).
        name = kind.encode()
        if not _TYPE.fullmatch(kind) or not raw.startswith(len(name).to_bytes(4) + name):
            raise BadInput(f"{text.strip()!r} is no host key: write it as in /etc/ssh/ssh_host_ed25519_key.pub")
        return cls(kind, body)

    @property
    def fingerprint(self) -> str:
        """As ``ssh-keygen -l`` shows it."""
        digest = hashlib.sha256(base64.b64decode(self.base64)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    def __str__(self) -> str:
        return f"{self.type} {self.base64}"

    @property
    def shown(self) -> str:
        """For people: type and fingerprint."""
        return f"{self.type} {self.fingerprint}"


@dataclass(frozen=True)
class KnownHosts:
    """The lines of a known_hosts file. Lines that are none of ours, or broken, are kept and say nothing, as for ssh."""

    lines: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path) -> "KnownHosts":
        """A file that is not there knows nobody. Raises BadInput where it can't be read."""
        try:
            return cls(tuple(path.read_text(errors="surrogateescape").splitlines()))
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {error.strerror}") from error

    def keys_of(self, name: str, *, revoked: bool = False) -> list[HostKey]:
        """The keys that ``name`` (see ``known_as``) is known by, in the file's order; or those revoked for it."""
        found = []
        for line in self.lines:
            marker, names, key = _parts(line)
            if key is not None and marker == ("@revoked" if revoked else "") and _matches(names, name):
                found.append(key)
        return found

    def with_key(self, name: str, key: HostKey) -> "KnownHosts":
        return KnownHosts((*self.lines, f"{name} {key}"))

    def without(self, name: str) -> "KnownHosts":
        """Without the keys of exactly this name, as ``ssh-keygen -R`` does. Patterns, revocations and authorities stay."""
        return KnownHosts(tuple(rest for line in self.lines for rest in _without(line, name)))

    def write(self, path: Path) -> None:
        """Replace the file in one step, readable by everybody: the keys in it are public. Raises OSError."""
        # A link is somebody's arrangement: what it leads to is replaced.
        path = path.resolve()
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.write_text("".join(f"{line}\n" for line in self.lines), errors="surrogateescape")
        fresh.chmod(0o644)
        fresh.replace(path)


def known_as(address: str, port: int) -> str:
    """How a server is called in known_hosts: ``address``, or ``[address]:port`` where it doesn't listen on 22."""
    address = address.lower()
    return address if port == _SSH_PORT else f"[{address}]:{port}"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one of our processes changes the file at a time. Its directory is made if missing."""
    path.resolve().parent.mkdir(parents=True, exist_ok=True)
    directory = os.open(path.resolve().parent, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _parts(line: str) -> tuple[str, str, HostKey | None]:
    """Marker (or nothing), names, key; no key where the line holds none."""
    fields = line.split(maxsplit=3)
    marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
    if len(fields) < 3 or fields[0].startswith("#"):
        return marker, "", None
    try:
        return marker, fields[0], HostKey.parse(f"{fields[1]} {fields[2]}")
    except BadInput:
        return marker, "", None


def _matches(names: str, name: str) -> bool:
    """Whether a line's first field is about the host: a hash, or patterns of which none with ``!`` fits."""
    patterns = names.split(",")
    if any(_fits(pattern[1:], name) for pattern in patterns if pattern.startswith("!")):
        return False
    return any(_fits(pattern, name) for pattern in patterns)


def _fits(pattern: str, name: str) -> bool:
    if pattern.startswith(_HASHED):
        return _is_hash_of(pattern, name)
    # Not fnmatch, to which the brackets of [host]:port are a choice of letters.
    expression = re.escape(pattern.lower()).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, name) is not None


def _is_hash_of(hashed: str, name: str) -> bool:
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in hashed.removeprefix(_HASHED).split("|"))
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)


def _without(line: str, name: str) -> Iterable[str]:
    marker, names, key = _parts(line)
    if marker or key is None:
        return [line]
    patterns = names.split(",")
    kept = [pattern for pattern in patterns if not (pattern.lower() == name or _is_named_by_hash(pattern, name))]
    if kept == patterns:
        return [line]
    return [line.replace(names, ",".join(kept), 1)] if kept else []


def _is_named_by_hash(pattern: str, name: str) -> bool:
    return pattern.startswith(_HASHED) and _is_hash_of(pattern, name)
