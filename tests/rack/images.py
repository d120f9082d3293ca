"""Base images: what a fresh Debian Lite has, made once for each release and architecture, and kept in the cache."""

import re
from pathlib import Path

from tests.rack import machine, places
from tests.rack.addresses import Kind
from tests.rack.commands import contained, run, say, works

#: What a stock Pi has that a fleet is provisioned over.
PACKAGES = (
    "systemd,systemd-sysv,dbus,libpam-systemd,openssh-server,python3,python3-apt,iproute2,ca-certificates,sudo,"
    "netbase,kmod,procps,tzdata,adduser,gpgv,nano,less"
)
#: Whoever opens TLS in a host trusts what this machine trusts, whatever bundle it brought along.
TRUST = "/etc/ssl/certs/ca-certificates.crt"
TRUSTING = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE")
#: Consoles that nobody sees; and timers that take apt's lock, and a core, whenever they like: the fleet's upgrades don't use them.
MASKED = ("apt-daily.timer", "apt-daily-upgrade.timer", "console-getty.service", "getty@.service")
#: For every service under qemu-user, where systemd has no processes in namespaces of their own: what asks for one would not start.
EMULATED = """\
[Service]
LoadCredential=
LoadCredentialEncrypted=
SetCredential=
SetCredentialEncrypted=
PrivateNetwork=no
"""
EMULATED_PLACE = "etc/systemd/system/service.d/emulated.conf"
#: Raised when what is written below changes, so that older images are made anew.
RECIPE = 1


def base_image(kind: Kind) -> Path:
    """The root directory of a host's base image, made if it isn't there. Raises RackError."""
    image = places.cache() / "images" / f"{kind.image}-{RECIPE}"
    with places.locked(places.cache() / "locks" / kind.image):
        if not image.exists():
            make(kind, image)
    return image


def make(kind: Kind, image: Path) -> None:
    """Make an image beside its place and move it there when it is whole. What a killed one left is removed."""
    for older in (places.cache() / "images").glob(f"{kind.image}-*"):
        if not places.is_in_use(older):
            places.remove(older)
    root = image.with_name(f"{kind.image}-unfinished")
    say(f"making the base image {kind.image}, once (a minute; three for an emulated one)")
    root.mkdir(parents=True)
    debootstrap(kind, root)
    prepare(kind, root)
    root.rename(image)


def debootstrap(kind: Kind, root: Path) -> None:
    """Install a minimal Debian into a directory."""
    archives = archives_of(kind)
    command = contained(
        "debootstrap",
        "--variant=minbase",
        f"--include={PACKAGES}",
        f"--arch={machine.debian_architecture(kind.architecture)}",
        f"--keyring={machine.KEYRING}",
        f"--cache-dir={archives}",
        kind.release,
        root,
        machine.mirror().archive,
    )
    run(*command)


def archives_of(kind: Kind) -> Path:
    """Where the Debian packages that hosts of this kind fetched are kept."""
    archives = places.cache() / "archives" / kind.image
    archives.mkdir(parents=True, exist_ok=True)
    return archives


def prepare(kind: Kind, root: Path) -> None:
    """Turn a minimal Debian into what boots as a stock host."""
    trust_as_this_machine(root)
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    write_sources(kind, root)
    run(*apt_of(root), "-y", "dist-upgrade")
    run(*apt_of(root), "clean")
    policy.unlink()
    as_not_yet_booted(kind, root)


def apt_of(root: Path) -> list[str | Path]:
    """The beginning of an apt-get command line in an image."""
    return contained("chroot", root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq")


def write_sources(kind: Kind, root: Path) -> None:
    """Give an image this machine's mirror, as whole as it is. Raises RackError without the release itself."""
    found = machine.mirror()
    file = root / "etc/apt/sources.list"
    first, *more = [
        f"deb {uri} {suite} main\n"
        for uri, suite in (
            (found.archive, kind.release),
            (found.archive, f"{kind.release}-updates"),
            (found.security, f"{kind.release}-security"),
        )
    ]
    file.write_text("".join([first, *more]))
    if works(*apt_of(root), "update", seconds=300):
        return
    # A mirror in the middle of its own update serves an index that does not fit its signature.
    taken = first
    for line in more:
        file.write_text(taken + line)
        if works(*apt_of(root), "update", seconds=300):
            taken += line
        else:
            say(f"left out of {kind.image}, since the mirror does not serve it whole: {line.strip()}")
    file.write_text(taken)
    run(*apt_of(root), "update")


def trust_as_this_machine(root: Path) -> None:
    """Trust what this machine trusts besides Debian's own bundle; in Debian's way, which outlives an update of the bundle."""
    known = set(certificates((root / TRUST.lstrip("/")).read_text()))
    ours = root / "usr/local/share/ca-certificates"
    ours.mkdir(parents=True, exist_ok=True)
    for number, certificate in enumerate(certificates(Path(TRUST).read_text())):
        if certificate not in known:
            (ours / f"machine-{number}.crt").write_text(certificate)
    run("chroot", root, "update-ca-certificates")
    named = [f"{name}={TRUST}" for name in TRUSTING]
    (root / "etc/environment").write_text("\n".join(named) + "\n")
    service = root / "etc/systemd/system.conf.d/trust.conf"
    service.parent.mkdir(exist_ok=True)
    service.write_text(f"[Manager]\nDefaultEnvironment={' '.join(named)}\n")


def certificates(bundle: str) -> list[str]:
    """The certificates of a PEM bundle, without the words around them."""
    return [found + "\n" for found in re.findall(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----", bundle)]


def as_not_yet_booted(kind: Kind, root: Path) -> None:
    """Take away what each host must have of its own, and what it cannot do here."""
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (root / "etc/machine-id").write_text("uninitialized\n")
    for unit in MASKED:
        place = root / "etc/systemd/system" / unit
        place.unlink(missing_ok=True)
        place.symlink_to("/dev/null")
    if kind.architecture == "armhf":
        emulated = root / EMULATED_PLACE
        emulated.parent.mkdir(exist_ok=True)
        emulated.write_text(EMULATED)
