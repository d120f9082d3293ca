"""Pulling named files from a builder with rsync over ssh, from where the last try ended.

The builder is not believed: rsync is asked for regular files of a bounded size by their names, takes no names from the other side,
and writes into a directory that nothing else reads. Whoever calls decides what becomes of what lies there then.
"""

import os
import re
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import IO

from piwheels_builder.errors import BadInput, FleetError

_ADDRESS = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:%_-]*[A-Za-z0-9])?")
#: What ssh and rsync say before they say why.
_NOISE = re.compile(r"^(@+|Warning: Permanently added .*|rsync: connection unexpectedly closed .*|rsync error: .*|\s*)$")
_MOST_WORDS = 300
_MOST_MEMORY = 2**30
_MOST_SAID = 64 * 1024
_GIVES_IN = 10
_LOOK_SECONDS = 1.0
#: rsync's: all is over, and the sender could not read some of the files.
NOT_ALL_READ = 23

Stop = Callable[[], str | None]


class PullFailed(FleetError):
    """A builder cannot be reached, or did not send what it was asked for. What arrived is kept; the next try goes on from there.

    ``code`` is what rsync ended with, None where it did not by itself.
    """

    exit_code = 75

    def __init__(self, why: str, code: int | None = None) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True)
class Access:
    """How outboxes are reached. ``seconds`` bound a builder's turn, ``silent_seconds`` a connection on which nothing moves.

    ``kilobytes`` a second are the most that one builder sends, 0 for as many as it can.
    """

    private_key: Path
    known_hosts: Path | None = None
    user: str = "piwheels-collector"
    port: int = 22
    seconds: float = 300
    silent_seconds: int = 30
    kilobytes: int = 0


@dataclass(frozen=True)
class Host:
    """A builder as ssh sees it. ``keys`` are its host keys, as ``type base64``, where the database has them.

    ``port`` is where its ssh server listens; None: where the others' do.
    """

    name: str
    address: str
    keys: tuple[str, ...] = ()
    port: int | None = None

    def __post_init__(self) -> None:
        if not _ADDRESS.fullmatch(self.address):
            raise BadInput(f"{self.address!r} is not an address: provision {self.name} again")

    @property
    def in_brackets(self) -> str:
        return f"[{self.address}]" if ":" in self.address else self.address


def pull(host: Host, access: Access, names: Sequence[str], into: Path, *, largest: int, stop: Stop) -> None:
    """Bring these files (paths below the outbox) below ``into``, each at most ``largest`` bytes. What is missing there, is no
    regular file or is larger does not come, without a word. ``stop`` is asked each second why, if at all, the pull is to end.
    Raises PullFailed.
    """
    with _known_hosts(host, access) as ssh_options:
        command = [*_rsync(access, largest), f"--rsh={_shell(ssh_options)}", f"{access.user}@{host.in_brackets}:/", f"{into}/"]
        code, told = _run(command, "".join(f"{name}\0" for name in names).encode(), access.seconds, largest, stop)
    if code != 0:
        raise PullFailed(_why(code, told), code)


def _rsync(access: Access, largest: int) -> list[str]:
    # In place, so that what a kill at any byte left is what the next try goes on with.
    asked = ["--files-from=-", "--from0", "--no-implied-dirs", "--ignore-missing-args", f"--max-size={largest}", "--inplace"]
    only = ["--no-links", "--no-devices", "--no-specials", "--no-perms", "--chmod=D0700,F0600"]
    bounds = [f"--timeout={access.silent_seconds}", f"--bwlimit={access.kilobytes}"]
    return ["rsync", "--quiet", *asked, *only, *bounds]


@contextmanager
def _known_hosts(host: Host, access: Access) -> Iterator[list[str]]:
    """Options by which ssh knows whom it speaks with, and speaks with nobody else."""
    options = ["-F", "/dev/null", "-i", str(access.private_key), "-p", str(host.port or access.port)]
    settings = {
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
        "StrictHostKeyChecking": "yes",
        "GlobalKnownHostsFile": "/dev/null",
        "UpdateHostKeys": "no",
        "ControlPath": "none",
        "ConnectTimeout": access.silent_seconds,
        "ServerAliveInterval": max(1, access.silent_seconds // 3),
    }
    if not host.keys:
        if access.known_hosts is None:
            raise PullFailed(f"no host key of {host.name} is known: run `ansible-playbook provision.yml` for it")
        yield [*options, *_settings({**settings, "UserKnownHostsFile": access.known_hosts})]
        return
    with tempfile.NamedTemporaryFile("w", prefix="known-hosts-") as file:
        # By its name: an address may change its host, and a host its address.
        file.writelines(f"{host.name} {' '.join(key.split()[:2])}\n" for key in host.keys)
        file.flush()
        yield [*options, *_settings({**settings, "UserKnownHostsFile": file.name, "HostKeyAlias": host.name})]


def _settings(settings: dict[str, object]) -> Iterator[str]:
    for name, value in settings.items():
        yield "-o"
        yield f"{name}={value}"


def _shell(options: Sequence[str]) -> str:
    """As rsync splits it: at spaces, with quotes of either kind and no escapes."""
    return " ".join(["ssh", *(f"'{option}'" if " " in option else option for option in options)])


def _run(command: Sequence[str], names: bytes, seconds: float, largest: int, stop: Stop) -> tuple[int, str]:
    """The exit code and what was said. Whatever it started ends with it. Raises PullFailed where it was ended."""
    process, told = _start(command, names), bytearray()
    assert process.stdout is not None
    listener = Thread(target=_listen, args=(process.stdout, told), daemon=True)
    listener.start()
    try:
        # A sender may send more than the size that it told, and lists without an end.
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (largest, largest))
        resource.prlimit(process.pid, resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
        why = _wait(process, seconds, stop)
    except BaseException:
        _end(process)
        raise
    if why is not None:
        _end(process)
        raise PullFailed(why)
    listener.join(_GIVES_IN)
    if listener.is_alive():
        # An ssh that outlives its rsync, and holds the pipe.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, told.decode(errors="replace")


def _start(command: Sequence[str], names: bytes) -> "subprocess.Popen[bytes]":
    # A file, not a pipe: nobody may wait until a builder has read all names.
    with tempfile.TemporaryFile() as asked:
        asked.write(names)
        asked.seek(0)
        try:
            return subprocess.Popen(
                command,
                stdin=asked,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "LC_ALL": "C"},
            )
        except FileNotFoundError:
            raise PullFailed("rsync is not installed here: `apt-get install rsync openssh-client`") from None


def _listen(pipe: IO[bytes], told: bytearray) -> None:
    """Keep the beginning: what ssh and rsync say is the builder's, and may have no end."""
    with pipe:
        while said := os.read(pipe.fileno(), _MOST_SAID):
            told += said[: _MOST_SAID - len(told)]


def _wait(process: "subprocess.Popen[bytes]", seconds: float, stop: Stop) -> str | None:
    """Why it has to be ended; None where it ended by itself."""
    until = time.monotonic() + seconds
    while True:
        try:
            process.wait(max(0, min(_LOOK_SECONDS, until - time.monotonic())))
        except subprocess.TimeoutExpired:
            if time.monotonic() >= until:
                return f"it took longer than {seconds:.0f} s; the next try goes on from there"
            if why := stop():
                return why
        else:
            return None


def _end(process: "subprocess.Popen[bytes]") -> None:
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_GIVES_IN)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _why(code: int, told: str) -> str:
    if "REMOTE HOST IDENTIFICATION HAS CHANGED" in told or "Host key verification failed" in told:
        return (
            "its host key is not the one it was first met with: somebody else answers there, or it was set up anew;"
            " where you know that it was, provision it again"
        )
    lines = [line.strip() for line in told.splitlines() if not _NOISE.match(line)]
    said = "; ".join(lines)[-_MOST_WORDS:] or (told.strip().splitlines() or ["nothing was said"])[-1][:_MOST_WORDS]
    # A stranger's words: no control characters on an operator's terminal.
    printable = "".join(letter if letter.isprintable() else "?" for letter in said)
    return f"{printable} (rsync ended with {code})"
