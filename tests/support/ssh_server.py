"""A real sshd on a high port of loopback, as an ordinary user, with host keys of the test's choice."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", ""))
_SECONDS = 20
_REACH = ("PIP_INDEX_URL", "PIP_CONFIG_FILE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "http_proxy", "https_proxy", "no_proxy")


@contextmanager
def directory() -> Iterator[Path]:
    """A temporary directory of the user that sshd runs as."""
    place = Path(tempfile.mkdtemp(prefix="fleet-ssh-", dir="/tmp"))
    _give(place)
    try:
        yield place
    finally:
        shutil.rmtree(place)


def make_key(place: Path, name: str, kind: str = "ed25519") -> Path:
    """A new host key. Returns its secret part's path; the public part lies beside it."""
    path = place / name
    bits = ["-b", "2048"] if kind == "rsa" else []
    subprocess.run(["ssh-keygen", "-q", "-t", kind, *bits, "-N", "", "-C", "a test", "-f", path], check=True)
    _give(path)
    return path


def public(key: Path) -> str:
    """Type and base64, as a known_hosts line ends."""
    return " ".join(key.with_suffix(".pub").read_text().split()[:2])


def fingerprint(key: Path) -> str:
    told = subprocess.run(["ssh-keygen", "-lf", key.with_suffix(".pub")], capture_output=True, text=True, check=True)
    return told.stdout.split()[1]


def free_port(family: socket.AddressFamily = socket.AF_INET) -> int:
    with socket.socket(family) as probe:
        probe.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(keys: Sequence[Path], port: int, address: str = "127.0.0.1", *settings: str) -> Iterator[None]:
    """sshd with these host keys, until the block ends."""
    assert SSHD is not None
    options = [f"-oHostKey={key}" for key in keys] + [f"-oListenAddress={address}", "-oPidFile=none", "-oUsePAM=no"]
    options += [f"-o{setting}" for setting in settings]
    log = keys[0].parent / "sshd.log"
    with log.open("ab") as told:
        server = subprocess.Popen([SSHD, "-D", "-e", "-f", "/dev/null", "-p", str(port), *options], stderr=told, **_as_user())  # type: ignore[call-overload]
    try:
        _wait_for(server, port, address, log)
        yield
    finally:
        server.terminate()
        server.wait()


@contextmanager
def serving_logins(key: Path, authorized: Path, port: int | None = None) -> Iterator[int]:
    """sshd that lets in whoever runs the tests, by the keys in ``authorized``. Yields its port."""
    assert SSHD is not None
    port = port or free_port()
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    authorized.chmod(0o644)
    options = [f"HostKey={key}", f"AuthorizedKeysFile={authorized}", "StrictModes=no", "UsePAM=no", "PidFile=none"]
    # Who logs in reaches the upstream index as whoever runs the tests does.
    reach = " ".join(f"{name}={os.environ[name]}" for name in _REACH if name in os.environ)
    options += ["ListenAddress=127.0.0.1", "PermitRootLogin=prohibit-password", "Subsystem=sftp internal-sftp"]
    options += [f"SetEnv={reach}"] if reach else []
    log = key.parent / "sshd.log"
    with log.open("ab") as told:
        command = [SSHD, "-D", "-e", "-f", "/dev/null", "-p", str(port), *(f"-o{option}" for option in options)]
        server = subprocess.Popen(command, stderr=told, start_new_session=True)
    try:
        _wait_for(server, port, "127.0.0.1", log)
        yield port
    finally:
        server.terminate()
        server.wait()


def _wait_for(server: "subprocess.Popen[bytes]", port: int, address: str, log: Path) -> None:
    gives_up = time.monotonic() + _SECONDS
    while server.poll() is None and time.monotonic() < gives_up:
        try:
            socket.create_connection((address, port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"sshd does not listen: {log.read_text()}")


def _as_user() -> dict[str, object]:
    # As root sshd would want directories of the system's.
    return {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}


def _give(path: Path) -> None:
    if os.geteuid() == 0:
        shutil.chown(path, "nobody")
