"""What the fleet's authority signs for others: whom a certificate names, and that the one signed before is kept.

Of a signing request only the public key is believed: the name, and what the certificate is good for, are the inventory's. Who calls
it: the modules client_certificate and server_certificate, as root on the index host.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from piwheels_builder.authority import (
    SERVER_LASTS,
    SERVER_LEFT,
    Authority,
    Key,
    begin,
    certificate_at,
    end,
    general_names,
    leaf,
    public,
    signed_by,
    write,
)
from piwheels_builder.errors import BadInput

#: The roles of the database, besides builders', that somebody on another host logs in as.
LOGINS = ("piwheels_owner", "piwheels_dispatcher", "piwheels_publisher", "piwheels_reader", "piwheels_replica")
_CLIENT_LASTS = timedelta(days=400)
#: A certificate that ends sooner is replaced.
_CLIENT_LEFT = timedelta(days=60)
_BUILDER = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LONGEST_NAME = 54  # with builder_ before it, 63 bytes: a name of PostgreSQL's; 64 is X.509's bound


@dataclass(frozen=True)
class Subject:
    """Whom a certificate names. Made by `builder`, `login` and `server`."""

    #: What an error calls it.
    words: str
    common_name: str
    #: Below the authority's directory, where its present certificate is kept, without the suffix.
    place: str
    #: Names and addresses of a server; who logs in has none.
    names: Sequence[str] = ()

    @property
    def _lasts(self) -> timedelta:
        return SERVER_LASTS if self.names else _CLIENT_LASTS

    @property
    def _left(self) -> timedelta:
        return SERVER_LEFT if self.names else _CLIENT_LEFT

    def _extensions(self) -> list[x509.ExtensionType]:
        if not self.names:
            return [x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])]
        server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        return [server, x509.SubjectAlternativeName(general_names(self.names))]

    def _is_named_in(self, certificate: x509.Certificate) -> bool:
        if not self.names:
            return True
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return list(names) == general_names(self.names)


def builder(name: str) -> Subject:
    """A builder, which logs in to the database as its own role. Raises BadInput for a name that is none."""
    if not _BUILDER.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise BadInput(f"{name!r} is no builder's name: use lower-case letters, digits, dots and dashes, {_LONGEST_NAME} at most")
    return Subject(name, f"builder_{name}", f"issued/{name}")


def login(role: str, host: str) -> Subject:
    """Who logs in to the database as one of LOGINS, on a host of the inventory. Raises BadInput."""
    if role not in LOGINS:
        raise BadInput(f"{role!r} is no role that another host logs in as: {', '.join(LOGINS)}")
    return Subject(f"{role} on {host}", role, f"logins/{_checked(host)}-{role}")


def server(host: str, names: Sequence[str]) -> Subject:
    """A database server on a host of the inventory, with every name and address it is reached at. Raises BadInput."""
    if not names:
        raise BadInput(f"{host} has no name that it is reached at: set database_names")
    general_names(names)
    return Subject(host, "piwheels-builder database", f"servers/{_checked(host)}", tuple(names))


def sign(authority: Authority, subject: Subject, request_pem: str) -> tuple[x509.Certificate, bool]:
    """The subject's certificate for the key of its request, and whether it is a new one.

    The one signed before is kept while it has 60 days left (a server's 30), the key is the same and so are a server's names. Raises
    BadInput for a request that is not signed by its own key, and a key that is too weak.
    """
    request = _request(subject, request_pem)
    kept = _kept(authority, subject, request)
    return (kept, False) if kept is not None else (_issue(authority, subject, request), True)


def is_kept(authority: Authority, subject: Subject, request_pem: str) -> bool:
    """Whether ``sign`` would return the certificate that it signed before. Raises what it raises."""
    return _kept(authority, subject, _request(subject, request_pem)) is not None


def pem(certificate: x509.Certificate) -> str:
    """A certificate as text."""
    return certificate.public_bytes(Encoding.PEM).decode()


def _checked(host: str) -> str:
    if not _HOST.fullmatch(host) or len(host) > 64:
        raise BadInput(f"{host!r} cannot name a host here: letters, digits, dots, dashes and underscores, 64 at most")
    return host


def _request(subject: Subject, request_pem: str) -> x509.CertificateSigningRequest:
    try:
        request = x509.load_pem_x509_csr(request_pem.encode())
        if not request.is_signature_valid:
            raise BadInput(
                f"the signing request of {subject.words} is not signed by its own key: remove the key and provision again"
            )
        _key_of(subject, request)
    except (ValueError, InvalidSignature) as error:
        raise BadInput(f"the signing request of {subject.words} cannot be read: {error}") from error
    return request


def _key_of(subject: Subject, request: x509.CertificateSigningRequest) -> Key:
    key = request.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size >= 256:
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
        return key
    raise BadInput(f"the key of {subject.words} is too weak or of another kind: P-256 and larger, or RSA of 2048 bits and more")


def _kept(authority: Authority, subject: Subject, request: x509.CertificateSigningRequest) -> x509.Certificate | None:
    path, issuer = authority.issued_path(subject.place), certificate_at(authority.certificate_path)
    if not path.exists():
        return None
    present, now = certificate_at(path), datetime.now(UTC)
    lasts = begin(present) <= now and end(present) - now > subject._left
    fits = public(present) == public(request) and subject._is_named_in(present) and signed_by(present, issuer)
    return present if lasts and fits else None


def _issue(authority: Authority, subject: Subject, request: x509.CertificateSigningRequest) -> x509.Certificate:
    # Nothing of the request but its key: no name, no extension, and no say in what the certificate is for.
    key = _key_of(subject, request)
    certificate = leaf(authority, subject.common_name, key, subject._lasts, subject._extensions())
    path = authority.issued_path(subject.place)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    write(path, certificate.public_bytes(Encoding.PEM), 0o600)
    return certificate
