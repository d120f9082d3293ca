"""The fleet's authority: what it signs, what it believes of a request, when it signs anew."""

import stat
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from piwheels_builder import authority as module
from piwheels_builder import signing
from piwheels_builder.authority import Authority, Server, check_clock, due, make
from piwheels_builder.errors import BadInput
from piwheels_builder.signing import builder, is_kept, login, sign

NAMES = ("index.invalid", "192.0.2.1", "2001:db8::1")
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path / "authority")
    make(made, server(tmp_path))
    return made


def server(place: Path, names: Sequence[str] = NAMES) -> Server:
    return Server(place / "tls", names)


def request(key: Key, name: str = "piwheels_owner", *extensions: x509.ExtensionType) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM).decode()


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def test_it_is_made_once(tmp_path: Path, authority: Authority) -> None:
    key = authority.key_path.read_bytes()
    assert make(authority, server(tmp_path)) == []
    assert authority.key_path.read_bytes() == key
    assert stat.S_IMODE(authority.key_path.stat().st_mode) == 0o600
    assert stat.S_IMODE(authority.directory.stat().st_mode) == 0o700


def test_a_server_is_called_by_all_its_names(tmp_path: Path, authority: Authority) -> None:
    certificate = x509.load_pem_x509_certificate(server(tmp_path).certificate_path.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["index.invalid"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == list(NAMES[1:])
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate_path.read_bytes()))


def test_a_key_that_lost_its_certificate_is_kept(tmp_path: Path, authority: Authority) -> None:
    key = authority.key_path.read_bytes()
    authority.certificate_path.unlink()
    with pytest.raises(BadInput, match="restore it from the backup"):
        make(authority, server(tmp_path))
    assert authority.key_path.read_bytes() == key


@pytest.mark.parametrize("cut_off", ["authority.key", "authority.pem"])
def test_the_making_of_an_authority_may_break_off_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut_off: str) -> None:
    def write(path: Path, content: bytes, mode: int) -> None:
        if path.name == cut_off:
            raise OSError
        whole(path, content, mode)

    whole, made = module.write, Authority(tmp_path / "authority")
    monkeypatch.setattr(module, "write", write)
    with pytest.raises(OSError):
        make(made, server(tmp_path))
    monkeypatch.undo()
    assert make(made, server(tmp_path)) == ["authority", "server"]


@pytest.mark.parametrize("seconds", [-700, 700])
def test_a_clock_gone_wrong_is_refused(seconds: int) -> None:
    now = datetime.now(UTC).timestamp()
    check_clock(now + seconds / 2)
    with pytest.raises(BadInput, match=f"by {-seconds} seconds"):
        check_clock(now + seconds)


def test_what_is_valid_only_later_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, asked = Authority(tmp_path / "authority"), request(new_key())
    monkeypatch.setattr(module, "_EARLIER", -timedelta(days=1))
    make(made, server(tmp_path))
    sign(made, builder("pi1"), asked)
    assert due(made, server(tmp_path)) == ["server"]
    assert not is_kept(made, builder("pi1"), asked)


@pytest.mark.parametrize(("days", "then"), [(0, []), (769, []), (771, ["server"])])
def test_a_server_is_certified_anew_before_its_certificate_ends(
    tmp_path: Path, authority: Authority, days: int, then: list[str]
) -> None:
    assert due(authority, server(tmp_path), datetime.now(UTC) + timedelta(days=days)) == then


def test_a_server_is_certified_anew_for_other_names_another_authority_and_a_strange_key(
    tmp_path: Path, authority: Authority
) -> None:
    assert make(authority, server(tmp_path, [*NAMES, "other.invalid"])) == ["server"]
    assert make(authority, server(tmp_path)) == ["server"]
    other = Authority(tmp_path / "other")
    make(other, Server(tmp_path / "elsewhere", NAMES))
    assert due(other, server(tmp_path)) == ["server"]
    server(tmp_path).key_path.write_bytes(other.key_path.read_bytes())
    assert due(authority, server(tmp_path)) == ["server"]


def test_a_name_that_no_certificate_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="fleet_index_names"):
        make(Authority(tmp_path / "authority"), server(tmp_path, ["wörld.invalid"]))


def test_nothing_of_a_request_is_believed_but_its_key(authority: Authority) -> None:
    key = new_key()
    wishes = (
        x509.BasicConstraints(ca=True, path_length=None),
        x509.SubjectAlternativeName([x509.DNSName("index.invalid")]),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
    )
    certificate, new = sign(authority, builder("pi1"), request(key, "piwheels_owner", *wishes))
    assert new
    assert certificate.subject.rfc4514_string() == "CN=builder_pi1"
    assert certificate.public_key() == key.public_key()
    extensions = certificate.extensions
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    with pytest.raises(x509.ExtensionNotFound):
        extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_a_certificate_is_kept_for_the_same_key_and_no_other(authority: Authority) -> None:
    key, other = request(new_key()), request(new_key())
    assert not is_kept(authority, builder("pi1"), key)
    first, _ = sign(authority, builder("pi1"), key)
    assert is_kept(authority, builder("pi1"), key)
    assert sign(authority, builder("pi1"), key) == (first, False)
    assert not is_kept(authority, builder("pi2"), key)
    second, new = sign(authority, builder("pi1"), other)
    assert new
    assert second.serial_number != first.serial_number


@pytest.mark.parametrize(("days", "kept"), [(61, True), (59, False)])
def test_a_certificate_is_replaced_when_it_ends_soon(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, days: int, kept: bool
) -> None:
    monkeypatch.setattr(signing, "_CLIENT_LASTS", timedelta(days=days))
    asked = request(new_key())
    sign(authority, builder("pi1"), asked)
    assert is_kept(authority, builder("pi1"), asked) == kept


@pytest.mark.parametrize("name", ["", "PI1", "-pi", "pi/../x", "pi 1", "a" * 55, "pi1\n"])
def test_a_name_that_is_none_is_refused(authority: Authority, name: str) -> None:
    with pytest.raises(BadInput, match="no builder's name"):
        sign(authority, builder(name), request(new_key()))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("nonsense", "cannot be read"),
        (request(rsa.generate_private_key(65537, 1024)), "too weak"),
        (request(ed25519.Ed25519PrivateKey.generate()), "too weak or of another kind"),
    ],
)
def test_a_request_that_cannot_be_signed_is_refused(authority: Authority, asked: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        sign(authority, builder("pi1"), asked)


def test_a_request_with_the_key_of_another_is_refused(authority: Authority) -> None:
    asked = x509.load_pem_x509_csr(request(new_key()).encode()).public_bytes(Encoding.DER)
    # The last bytes are the signature's.
    damaged = x509.load_der_x509_csr(asked[:-1] + bytes([asked[-1] ^ 1])).public_bytes(Encoding.PEM).decode()
    with pytest.raises(BadInput, match="not signed by its own key"):
        sign(authority, builder("pi1"), damaged)


def test_a_role_of_the_index_host_is_certified_for_logging_in_alone(authority: Authority) -> None:
    key = request(new_key(), "postgres", x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]))
    certificate, _ = sign(authority, login("piwheels_publisher", "hub"), key)
    assert certificate.subject.rfc4514_string() == "CN=piwheels_publisher"
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    # Nobody else's is kept for it.
    assert not is_kept(authority, login("piwheels_owner", "hub"), key)
    assert not is_kept(authority, login("piwheels_publisher", "attic"), key)


@pytest.mark.parametrize(
    ("role", "host"), [("postgres", "hub"), ("builder_pi1", "hub"), ("piwheels_owner", "../hub"), ("piwheels_owner", "")]
)
def test_a_login_that_is_none_is_refused(role: str, host: str) -> None:
    with pytest.raises(BadInput):
        login(role, host)


def test_a_database_server_is_certified_anew_for_other_names(authority: Authority) -> None:
    key = request(new_key())
    certificate, _ = sign(authority, signing.server("db", NAMES), key)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["index.invalid"]
    assert list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert is_kept(authority, signing.server("db", NAMES), key)
    assert not is_kept(authority, signing.server("db", NAMES[:1]), key)
    with pytest.raises(BadInput, match="database_names"):
        signing.server("db", [])
