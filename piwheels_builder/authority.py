"""The fleet's certificate authority: its own certificate, the index host's, and those that builders log in to the database with.

Its key lies on the index host and never leaves it. Of a signing request only the public key is believed; the name is the one that
the inventory gives the builder. Who calls it: the modules fleet_authority and client_certificate, as root on the index host.
"""

import ipaddress
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from piwheels_builder.errors import BadInput

_Key = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
_AUTHORITY_LASTS = timedelta(days=20 * 365)
_SERVER_LASTS = timedelta(days=800)
_CLIENT_LASTS = timedelta(days=400)
#: A certificate that ends sooner is replaced.
_SERVER_LEFT = timedelta(days=30)
_CLIENT_LEFT = timedelta(days=60)
_CLOCKS_DIFFER = timedelta(minutes=10)
#: Clocks of Pis without a battery are late at times.
_EARLIER = timedelta(days=1)
_BUILDER = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_LONGEST_NAME = 54  # with builder_ before it, 63 bytes: a name of PostgreSQL's; 64 is X.509's bound


@dataclass(frozen=True)
class Authority:
    """A directory that root alone can read, with the authority's key, its certificate, and those of the builders it signed."""

    directory: Path

    @property
    def key_path(self) -> Path:
        """The key that every certificate is signed with."""
        return self.directory / "authority.key"

    @property
    def certificate_path(self) -> Path:
        """What every host trusts."""
        return self.directory / "authority.pem"

    def issued_path(self, builder: str) -> Path:
        """The present certificate of a builder."""
        return self.directory / "issued" / f"{builder}.pem"


@dataclass(frozen=True)
class Server:
    """The index host's certificate and key, and every name and address it is reached at. ``group`` may read the key."""

    directory: Path
    names: Sequence[str]
    group: str | None = None

    @property
    def certificate_path(self) -> Path:
        """The certificate."""
        return self.directory / "server.pem"

    @property
    def key_path(self) -> Path:
        """Its key."""
        return self.directory / "server.key"


def check_clock(told: float) -> None:
    """Raises BadInput where this host's clock differs from the time ``told``, in seconds since the epoch, by ten minutes."""
    differs = datetime.now(UTC).timestamp() - told
    if abs(differs) >= _CLOCKS_DIFFER.total_seconds():
        raise BadInput(
            f"the index host's clock differs from the controller's by {differs:.0f} seconds, and certificates fail with that:"
            " let it be set, for example with: apt-get install systemd-timesyncd; then provision again"
        )


def due(authority: Authority, server: Server, now: datetime | None = None) -> list[str]:
    """What is missing, wrong or near its end: authority, server, both or neither. Raises BadInput where one was lost."""
    if authority.key_path.exists() and not authority.certificate_path.exists():
        raise BadInput(
            f"{authority.certificate_path} is gone, and its key is there: restore it from the backup; where there is none, remove"
            f" {authority.directory}, and every host gets a certificate of a new authority when it is provisioned"
        )
    if not authority.key_path.exists() or not authority.certificate_path.exists():
        return ["authority", "server"]
    return [] if _serves(authority, server, now or datetime.now(UTC)) else ["server"]


def make(authority: Authority, server: Server) -> list[str]:
    """Make what is due and return it. Raises what ``due`` raises, and BadInput for a name that no certificate can hold."""
    missing = due(authority, server)
    if "authority" in missing:
        _make_authority(authority)
    if "server" in missing:
        _make_server(authority, server)
    return missing


def sign(authority: Authority, builder: str, request_pem: str) -> tuple[x509.Certificate, bool]:
    """A builder's certificate for the key of its request, and whether it is a new one.

    The one signed before is kept while it has 60 days left and the key is the same. Raises BadInput for a name that is none, a
    request that is not signed by its own key, and a key that is too weak.
    """
    request = _request(builder, request_pem)
    kept = _kept(authority, builder, request)
    return (kept, False) if kept is not None else (_issue(authority, builder, request), True)


def is_kept(authority: Authority, builder: str, request_pem: str) -> bool:
    """Whether ``sign`` would return the certificate that it signed before. Raises what it raises."""
    return _kept(authority, builder, _request(builder, request_pem)) is not None


def pem(certificate: x509.Certificate) -> str:
    """A certificate as text."""
    return certificate.public_bytes(Encoding.PEM).decode()


def _request(builder: str, request_pem: str) -> x509.CertificateSigningRequest:
    if not _BUILDER.fullmatch(builder) or len(builder) > _LONGEST_NAME:
        raise BadInput(
            f"{builder!r} is no builder's name: use lower-case letters, digits, dots and dashes, {_LONGEST_NAME} at most"
        )
    try:
        request = x509.load_pem_x509_csr(request_pem.encode())
        if not request.is_signature_valid:
            raise BadInput(
                f"the signing request of {builder} is not signed by its own key: remove its client.key and provision again"
            )
        _key_of(builder, request)
    except (ValueError, InvalidSignature) as error:
        raise BadInput(f"the signing request of {builder} cannot be read: {error}") from error
    return request


def _key_of(builder: str, request: x509.CertificateSigningRequest) -> _Key:
    key = request.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size >= 256:
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
        return key
    raise BadInput(f"the key of {builder} is too weak or of another kind: P-256 and larger, or RSA of 2048 bits and more")


def _kept(authority: Authority, builder: str, request: x509.CertificateSigningRequest) -> x509.Certificate | None:
    path, issuer = authority.issued_path(builder), _certificate(authority.certificate_path)
    if not path.exists():
        return None
    present, now = _certificate(path), datetime.now(UTC)
    lasts = _begin(present) <= now and _end(present) - now > _CLIENT_LEFT
    return present if lasts and _public(present) == _public(request) and _signed_by(present, issuer) else None


def _issue(authority: Authority, builder: str, request: x509.CertificateSigningRequest) -> x509.Certificate:
    # Nothing of the request but its key: no name, no extension, and no say in what the certificate is for.
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    certificate = _leaf(authority, f"builder_{builder}", _key_of(builder, request), _CLIENT_LASTS, [usage])
    path = authority.issued_path(builder)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    _write(path, certificate.public_bytes(Encoding.PEM), 0o600)
    return certificate


def _serves(authority: Authority, server: Server, now: datetime) -> bool:
    if not server.certificate_path.exists() or not server.key_path.exists():
        return False
    certificate, key = _certificate(server.certificate_path), _key(server.key_path)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (
        list(names) == _general_names(server.names)
        and _public(certificate) == _public(key)
        and _begin(certificate) <= now
        and _end(certificate) - now > _SERVER_LEFT
        and _signed_by(certificate, _certificate(authority.certificate_path))
    )


def _make_authority(authority: Authority) -> None:
    authority.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    # Two fleets of one owner must not have authorities of one name.
    name = _name(f"piwheels-builder fleet {x509.random_serial_number():x}"[:60])
    certificate = (
        _builder(name, name, key.public_key(), _AUTHORITY_LASTS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    # In this order: a key alone is one that lost its certificate, and a certificate alone can be replaced.
    _write(authority.certificate_path, certificate.public_bytes(Encoding.PEM), 0o644)
    _write(authority.key_path, _private(key), 0o600)


def _make_server(authority: Authority, server: Server) -> None:
    server.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    names = x509.SubjectAlternativeName(_general_names(server.names))
    certificate = _leaf(authority, "piwheels-builder index", key.public_key(), _SERVER_LASTS, [usage, names])
    # A pair that was cut apart by an interruption is seen as such, and made anew.
    _write(server.key_path, _private(key), 0o640 if server.group else 0o600, server.group)
    _write(server.certificate_path, certificate.public_bytes(Encoding.PEM), 0o644)


def _leaf(
    authority: Authority, name: str, key: _Key, lasts: timedelta, extensions: Sequence[x509.ExtensionType]
) -> x509.Certificate:
    signing, issuer = _key(authority.key_path), _certificate(authority.certificate_path)
    builder = (
        _builder(_name(name), issuer.subject, key, lasts)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs=False), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(signing, hashes.SHA256())


def _builder(subject: x509.Name, issuer: x509.Name, key: _Key, lasts: timedelta) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + lasts)
    )


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    try:
        return [_general_name(name) for name in dict.fromkeys(names)]
    except ValueError as error:
        raise BadInput(f"fleet_index_names has a name that no certificate can hold: {error}") from error


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    key = issuer.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert certificate.signature_hash_algorithm is not None
    try:
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(certificate.signature_hash_algorithm))
    except InvalidSignature:
        return False
    return True


def _begin(certificate: x509.Certificate) -> datetime:
    try:
        return certificate.not_valid_before_utc
    except AttributeError:
        return certificate.not_valid_before.replace(tzinfo=UTC)


def _end(certificate: x509.Certificate) -> datetime:
    # Debian 12's library has the one without a time zone only.
    try:
        return certificate.not_valid_after_utc
    except AttributeError:
        return certificate.not_valid_after.replace(tzinfo=UTC)


def _public(holder: x509.Certificate | x509.CertificateSigningRequest | ec.EllipticCurvePrivateKey) -> bytes:
    return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _write(path: Path, content: bytes, mode: int, group: str | None = None) -> None:
    fresh = path.with_name(f".{path.name}")
    fresh.unlink(missing_ok=True)
    number = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(number, "wb") as written:
        written.write(content)
        os.fchmod(number, mode)
        os.fsync(number)
    if group:
        shutil.chown(fresh, group=group)
    fresh.replace(path)
