"""Keys with certificates that a fleet's authority signed for them, made for a test."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from piwheels_builder.authority import Authority, Server, make
from piwheels_builder.signing import Subject, pem, sign


class Keys:
    """Below ``place``; ``names`` are those of the authority's own server."""

    def __init__(self, place: Path, names: Sequence[str] = ("index.invalid",)) -> None:
        self.place = place
        self.authority = Authority(place / "authority")
        self.server = Server(place / "tls", names)
        make(self.authority, self.server)

    def certify(self, subject: Subject) -> Path:
        """A new key, beside its certificate, which is returned."""
        name = subject.place.replace("/", "-")
        key, request = self.place / f"{name}.key", self.place / f"{name}.csr"
        made = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=whatever")
        subprocess.run(["openssl", "req", *made, "-keyout", key, "-out", request], check=True, capture_output=True)
        certificate = self.place / f"{name}.pem"
        certificate.write_text(pem(sign(self.authority, subject, request.read_text())[0]))
        return certificate
