"""What a bundle holds, signed: which files with which hashes, for which target. Whoever has the public key sees what differs.

The signature is Ed25519 (RFC 8032) over the bytes of manifest.json, in base64. The keys are PEM files as openssl writes them.
"""

import base64
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from piwheels_builder.errors import BadInput, FleetError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MANIFEST, SIGNATURE = "manifest.json", "manifest.json.sig"
FORMAT = 1
_CHUNK = 2**20


class NotAsSigned(FleetError):
    """A bundle is not what its manifest or signature says."""

    exit_code = 65


@dataclass(frozen=True)
class Listed:
    """A file of a bundle: lower-case hex, bytes."""

    sha256: str
    size: int

    def __str__(self) -> str:
        return f"{self.size} bytes, sha256 {self.sha256}"

    @classmethod
    def of(cls, file: IO[bytes]) -> "Listed":
        """Read a file to its end."""
        digest, size = hashlib.sha256(), 0
        while piece := file.read(_CHUNK):
            digest.update(piece)
            size += len(piece)
        return cls(digest.hexdigest(), size)


@dataclass(frozen=True)
class Manifest:
    """``asked`` are the requirements, ``installs`` the projects that are in it, ``expects`` what the target must have already,
    version by project, ``files`` by path.
    """

    target: str
    python: str
    glibc: tuple[int, int]
    asked: tuple[str, ...]
    installs: tuple[str, ...]
    expects: Mapping[str, str]
    files: Mapping[str, Listed]

    def text(self) -> bytes:
        """The same bytes for the same content."""
        return (json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True) + "\n").encode()


def read_files(text: bytes) -> dict[str, Listed]:
    """The files that a manifest lists. Raises NotAsSigned."""
    try:
        said = json.loads(text)
        if said["format"] != FORMAT:
            raise NotAsSigned(f"the manifest has format {said['format']!r}, this is for {FORMAT}: use a newer piwheels-builder")
        return {str(name): Listed(str(file["sha256"]), int(file["size"])) for name, file in said["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NotAsSigned(f"{MANIFEST} is damaged: {type(error).__name__}: {error}") from error


def differences(listed: Mapping[str, Listed], found: Mapping[str, Listed]) -> Iterator[str]:
    """What of a bundle is not as listed, a line each. The manifest and its signature are in no list."""
    for name in sorted({*listed, *found} - {MANIFEST, SIGNATURE}):
        if name not in found:
            yield f"{name} is missing"
        elif name not in listed:
            yield f"{name} is not listed"
        elif found[name] != listed[name]:
            yield f"{name} is another file: {found[name]}; listed is {listed[name]}"


def make_key(path: Path) -> Path:
    """Write a private key, and beside it the public one (.pub). Returns where that is. Raises BadInput where one is there."""
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    key, public = Ed25519PrivateKey.generate(), path.with_name(f"{path.name}.pub")
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123
            file.write(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()))
        public.write_bytes(key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo))
    except OSError as error:
        raise BadInput(f"{path} cannot be made ({error.strerror}): a key is never replaced; name another file") from error
    return public


def sign(text: bytes, key: Path) -> bytes:
    """The content of the signature's file. Raises BadInput."""
    return base64.b64encode(_private_key(key).sign(text)) + b"\n"


def check_signature(text: bytes, signature: bytes | None, key: Path) -> None:
    """Raises NotAsSigned unless the private half of this public key signed the manifest; BadInput for what is no key."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

    public = _public_key(key)
    if signature is None:
        raise NotAsSigned("the bundle is not signed: make it with --key, or do not ask for a signature")
    try:
        public.verify(base64.b64decode(signature, validate=False), text)
    except (InvalidSignature, ValueError) as error:
        raise NotAsSigned(f"{MANIFEST} was not signed by the key of {key}, or was changed since") from error


def _private_key(path: Path) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"{path} holds no private key: make one with `piwheels-builder wheelhouse key {path}`") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInput(f"{path} holds a key of another kind than Ed25519: make one with `piwheels-builder wheelhouse key FILE`")
    return key


def _public_key(path: Path) -> "Ed25519PublicKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} holds no public key: it is the file that ends in .pub, beside the private one") from error
    if not isinstance(key, Ed25519PublicKey):
        raise BadInput(f"{path} holds a key of another kind than Ed25519")
    return key
