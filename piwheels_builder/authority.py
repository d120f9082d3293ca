"""The fleet's certificate authority: its own certificate and the index host's. What it signs for others: signing.py.

Its key lies on the index host and never leaves it. Who calls it: the module fleet_authority, as root on the index host.
"""

import ipaddress
import os
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

Key = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
_AUTHORITY_LASTS = timedelta(days=20 * 365)
SERVER_LASTS = timedelta(days=800)
#: A certificate that ends sooner is replaced.
SERVER_LEFT = timedelta(days=30)
_CLOCKS_DIFFER = timedelta(minutes=10)
#: Clocks of Pis without a battery are late at times.
_EARLIER = timedelta(days=1)


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

    def issued_path(self, place: str) -> Path:
        """The present certificate of somebody, whose ``place`` says which of those that this authority signed."""
        return self.directory / f"{place}.pem"


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


def _serves(authority: Authority, server: Server, now: datetime) -> bool:
    if not server.certificate_path.exists() or not server.key_path.exists():
        return False
    certificate, key = certificate_at(server.certificate_path), _key(server.key_path)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (
        list(names) == general_names(server.names)
        and public(certificate) == public(key)
        and begin(certificate) <= now
        and end(certificate) - now > SERVER_LEFT
        and signed_by(certificate, certificate_at(authority.certificate_path))
        and (server.group is None or _group_of(server.key_path) == server.group)
    )


def _group_of(path: Path) -> str:
    try:
        return path.group()
    except KeyError:
        return ""


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
    write(authority.certificate_path, certificate.public_bytes(Encoding.PEM), 0o644)
    write(authority.key_path, _private(key), 0o600)


def _make_server(authority: Authority, server: Server) -> None:
    server.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    names = x509.SubjectAlternativeName(general_names(server.names))
    certificate = leaf(authority, "piwheels-builder index", key.public_key(), SERVER_LASTS, [usage, names])
    # A pair that was cut apart by an interruption is seen as such, and made anew.
    write(server.key_path, _private(key), 0o640 if server.group else 0o600, server.group)
    write(server.certificate_path, certificate.public_bytes(Encoding.PEM), 0o644)


def leaf(authority: Authority, name: str, key: Key, lasts: timedelta, extensions: Sequence[x509.ExtensionType]) -> x509.Certificate:
    """A certificate for the key of somebody who signs nothing, by the authority."""
    signing, issuer = _key(authority.key_path), certificate_at(authority.certificate_path)
    builder = (
        _builder(_name(name), issuer.subject, key, lasts)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs=False), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(signing, hashes.SHA256())


def _builder(subject: x509.Name, issuer: x509.Name, key: Key, lasts: timedelta) -> x509.CertificateBuilder:
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


def general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    """Names and addresses as a certificate has them. Raises BadInput for one that none can hold."""
    try:
        return [_general_name(name) for name in dict.fromkeys(names)]
    except ValueError as error:
        raise BadInput(f"fleet_index_names or database_names has a name that no certificate can hold: {error}") from error


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether an authority's key has signed a certificate."""
    key = issuer.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert certificate.signature_hash_algorithm is not None
    try:
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(certificate.signature_hash_algorithm))
    except InvalidSignature:
        return False
    return True


def begin(certificate: x509.Certificate) -> datetime:
    """From when on it is valid."""
    try:
        return certificate.not_valid_before_utc
    except AttributeError:
        return certificate.not_valid_before.replace(tzinfo=UTC)


def end(certificate: x509.Certificate) -> datetime:
    """Until when it is valid."""
    # Debian 12's library has the one without a time zone only.
    try:
        return certificate.not_valid_after_utc
    except AttributeError:
        return certificate.not_valid_after.replace(tzinfo=UTC)


def public(holder: x509.Certificate | x509.CertificateSigningRequest | ec.EllipticCurvePrivateKey) -> bytes:
    """The public key, as bytes that can be compared."""
    return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def certificate_at(path: Path) -> x509.Certificate:
    """Read a certificate in PEM."""
    return x509.load_pem_x509_certificate(path.read_bytes())


def write(path: Path, content: bytes, mode: int, group: str | None = None) -> None:
    """Put a file in place in one step, whole or not at all."""
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
