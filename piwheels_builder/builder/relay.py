"""The index host in place of the upstream index, for a builder without credentials for it, or without a way to it."""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from piwheels_builder.errors import BadInput
from piwheels_builder.queue.batch import Sdist

if TYPE_CHECKING:
    import requests


@dataclass(frozen=True)
class Relay:
    """``url`` ends without a slash. ``authority`` signed its certificate, ``certificate`` and ``key`` are this builder's own."""

    url: str
    authority: Path
    certificate: Path
    key: Path

    @classmethod
    def read(cls, told: object) -> "Relay":
        """Understand what builder.yml says. Raises BadInput."""
        names = ("url", "authority", "certificate", "key")
        if not isinstance(told, Mapping) or set(told) != set(names) or not all(isinstance(value, str) for value in told.values()):
            raise BadInput(f"relay in builder.yml must have {', '.join(names)}: run `ansible-playbook provision.yml`")
        return cls(told["url"].rstrip("/"), *(Path(told[name]) for name in names[1:]))

    @property
    def index(self) -> str:
        """The simple index that uv asks."""
        return f"{self.url}/simple/"

    def relayed(self, sdist: Sdist, project: str) -> Sdist:
        """The same sdist, from the relay."""
        return replace(sdist, url=f"{self.url}/files/{project}/{quote(sdist.filename)}")

    def introduce(self, session: "requests.Session") -> None:
        """Have a session trust it, and say who we are; no proxy stands between."""
        session.trust_env = False
        session.verify = os.fspath(self.authority)
        session.cert = (os.fspath(self.certificate), os.fspath(self.key))

    def environment(self, beside: Path) -> dict[str, str]:
        """What tells uv whom to trust and who we are. uv wants certificate and key in one file, which is kept at ``beside``."""
        both = self.certificate.read_bytes() + self.key.read_bytes()
        if not beside.exists() or beside.read_bytes() != both:
            beside.parent.mkdir(parents=True, exist_ok=True)
            # Of this thread alone: slots use uv at the same time.
            unfinished = beside.with_name(f".{beside.name}.{threading.get_native_id()}")
            unfinished.unlink(missing_ok=True)
            # Nobody else's from the first moment on.
            with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(both)
            unfinished.rename(beside)
        return {"SSL_CERT_FILE": os.fspath(self.authority), "SSL_CLIENT_CERT": os.fspath(beside)}
