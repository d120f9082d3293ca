#!/usr/bin/python
"""Ansible module: have a private key that never leaves its host, and a request for a certificate of it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate_request
short_description: Have a private key that never leaves its host, and a request for a certificate of it
description:
  - Makes the key (an elliptic curve's, P-256) and the request by the openssl command where they are missing, or do not belong
    together. Both are kept, so that a second run makes nothing.
  - Needs nothing but Python and openssl on the host.
options:
  key:
    description: The private key's file, readable by its owner alone. Its directory is made where it is missing.
    type: path
    required: true
  request:
    description: The request's file.
    type: path
    required: true
  certificate:
    description: The certificate's file. It is only read here.
    type: path
    required: true
  common_name:
    description: Whom the certificate shall name.
    type: str
    required: true
  owner:
    description: Whose the key is. Without it, whoever provisions.
    type: str
attributes:
  check_mode:
    description: Tells whether something would be made.
    support: full
  diff_mode:
    description: Nothing to show beyond changed.
    support: none
"""

EXAMPLES = r"""
- name: Have a key and a request
  certificate_request:
    key: /etc/piwheels-builder/client.key
    request: /etc/piwheels-builder/client.csr
    certificate: /etc/piwheels-builder/client.pem
    common_name: builder_pi3
"""

RETURN = r"""
csr:
  description: The request, as PEM. Empty in check mode where it would be made.
  returned: always
  type: str
certificate:
  description: The certificate that is there, as PEM. Empty where there is none, or one of another key.
  returned: always
  type: str
"""

import base64
import binascii
import os
import pwd
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

ARGUMENTS = {
    "key": {"type": "path", "required": True, "no_log": False},
    "request": {"type": "path", "required": True},
    "certificate": {"type": "path", "required": True},
    "common_name": {"type": "str", "required": True},
    "owner": {"type": "str"},
}
#: openssl ends a P-256 key with its public point: 4, then two coordinates of 32 bytes (SEC 1; RFC 5915).
_POINT_BYTES = 65
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Refused(Exception):
    """No key or request can be made; its words say why."""


@dataclass(frozen=True)
class Files:
    """Where key, request and certificate are, and whom they are about."""

    key: Path
    request: Path
    certificate: Path
    name: str

    @property
    def point(self) -> bytes | None:
        """The key's public part; None where there is no key that can be used."""
        found = der_of(self.key)[-_POINT_BYTES:]
        private = not self.key.is_symlink() and self.key.exists() and not self.key.stat().st_mode & 0o077
        return found if len(found) == _POINT_BYTES and found[0] == 4 and private else None

    @property
    def fits(self) -> bool:
        """Whether the request is of this key and this name. Both stand in it as they are."""
        point, request = self.point, der_of(self.request)
        named = bytes([len(self.name)]) + self.name.encode()
        return point is not None and point in request and named in request

    @property
    def kept_certificate(self) -> str:
        point = self.point
        return self.certificate.read_text() if point is not None and point in der_of(self.certificate) else ""


def der_of(path: Path) -> bytes:
    """What a PEM file holds, first block only; nothing where it is missing or is none."""
    try:
        lines = path.read_text(errors="replace").splitlines()
        begin = next(number for number, line in enumerate(lines) if line.startswith("-----BEGIN "))
        end = next(number for number, line in enumerate(lines) if line.startswith("-----END "))
        return base64.b64decode("".join(lines[begin + 1 : end]), validate=True)
    except (OSError, StopIteration, binascii.Error):
        return b""


def openssl(*arguments: str) -> None:
    try:
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise Refused("this host has no openssl: apt-get install openssl") from error
    if done.returncode:
        raise Refused(f"openssl {arguments[0]} fails: {done.stderr.strip()[-500:]}")


def make_key(files: Files, owner: int) -> None:
    with Fresh(files.key) as fresh:
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(fresh.path))
        os.chown(fresh.path, owner, -1)
        fresh.keep()


def make_request(files: Files) -> None:
    with Fresh(files.request) as fresh:
        openssl("req", "-new", "-sha256", "-key", str(files.key), "-subj", f"/CN={files.name}", "-utf8", "-out", str(fresh.path))
        fresh.path.chmod(0o644)
        fresh.keep()


class Fresh:
    """A file beside another one, for its owner alone, that takes its place when it is whole."""

    def __init__(self, target: Path) -> None:
        self._target = target
        number, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        os.close(number)
        self.path = Path(name)

    def __enter__(self) -> Fresh:
        return self

    def keep(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        self.path.replace(self._target)

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)


def run(params: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    if not _NAME.fullmatch(params["common_name"]):
        raise Refused(
            f"{params['common_name']!r} cannot stand in a certificate: letters, digits, dots, dashes and underscores, 63 at most"
        )
    key, request, certificate = (Path(params[name]) for name in ("key", "request", "certificate"))
    files = Files(key, request, certificate, params["common_name"])
    changed = not files.fits
    if changed and not check_mode:
        key.parent.mkdir(parents=True, exist_ok=True)
        if files.point is None:
            make_key(files, user_id(params["owner"]))
        make_request(files)
    return {"changed": changed, "csr": files.request.read_text() if files.fits else "", "certificate": files.kept_certificate}


def user_id(name: str | None) -> int:
    try:
        return os.geteuid() if name is None else pwd.getpwnam(name).pw_uid
    except KeyError as error:
        raise Refused(f"there is no user {name} on this host") from error


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        module.exit_json(**run(module.params, check_mode=module.check_mode))
    except Refused as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"the key or its request cannot be written: {error}")


if __name__ == "__main__":
    main()
