"""A builder's files, here or over ssh (SFTP: nothing of ours runs there). Who calls: following.py.

What another host answers is bounded in size and time: a builder runs what strangers wrote.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import IO, Any, Protocol

from piwheels_builder.errors import FleetError
from piwheels_builder.host_keys.known_hosts import KnownHosts
from piwheels_builder.watching.reach import Login, Place

#: Seconds until a host that says nothing counts as unreachable.
_PATIENCE = 10.0
#: More names than so many are not listed: an outbox holds some thousand at most.
_MOST_NAMES = 20_000


class Unreached(FleetError):
    """A builder's files cannot be read now. The message says why, and how to mend it where that is known."""

    exit_code = 69


class Files(Protocol):
    """Paths are whole. Methods raise whatever goes wrong; ``reached`` makes Unreached of it."""

    def names(self, directory: str) -> list[str]: ...

    def open(self, path: str) -> IO[bytes]: ...

    def write(self, path: str, text: str) -> None: ...

    def remove(self, path: str) -> None: ...


class Here:
    """Files of this host."""

    def names(self, directory: str) -> list[str]:
        with os.scandir(directory) as entries:
            return [entry.name for entry in islice(entries, _MOST_NAMES)]

    def open(self, path: str) -> IO[bytes]:
        return Path(path).open("rb", buffering=0)

    def write(self, path: str, text: str) -> None:
        Path(path).write_text(text, encoding="utf-8")

    def remove(self, path: str) -> None:
        Path(path).unlink()


class There:
    """Files behind an ssh server, through paramiko's SFTPClient."""

    def __init__(self, sftp: Any) -> None:
        self._sftp = sftp

    def names(self, directory: str) -> list[str]:
        return [str(entry.filename) for entry in islice(self._sftp.listdir_iter(directory), _MOST_NAMES)]

    def open(self, path: str) -> IO[bytes]:
        opened: IO[bytes] = self._sftp.open(path, "rb")
        return opened

    def write(self, path: str, text: str) -> None:
        with self._sftp.open(path, "wb") as file:
            file.write(text.encode())

    def remove(self, path: str) -> None:
        self._sftp.remove(path)


@contextmanager
def reached(place: Place) -> Iterator[Files]:
    """The files of a builder, for the length of a block. Raises Unreached, also for what fails within it."""
    if place.login is None:
        try:
            yield Here()
        except OSError as error:
            raise Unreached(f"{place.builder}: {error.filename or place.state_dir}: {error.strerror or error}") from error
        return
    with _logged_in(place.builder, place.login) as files:
        yield files


@contextmanager
def _logged_in(builder: str, login: Login) -> Iterator[Files]:
    try:
        # Only here: the table needs none of it, and an index host may lack it.
        import paramiko  # noqa: PLC0415
    except ImportError as error:
        raise Unreached(
            "logs are followed with paramiko, which is not installed here: run `ansible-playbook provision.yml`"
        ) from error
    # Whatever goes wrong is said once, by Unreached; a line on standard error would stand across the screen.
    logging.getLogger("paramiko").propagate = False
    client = paramiko.SSHClient()
    _know(client, builder, login)
    try:
        client.connect(
            login.address,
            login.port,
            login.user,
            key_filename=str(login.private_key),
            allow_agent=False,
            look_for_keys=False,
            timeout=_PATIENCE,
            banner_timeout=_PATIENCE,
            auth_timeout=_PATIENCE,
        )
        sftp = client.open_sftp()
        sftp.get_channel().settimeout(_PATIENCE)
        yield There(sftp)
    except FleetError:
        raise
    except Exception as error:
        # Whatever a stranger's bytes make a parser raise.
        raise Unreached(_why(builder, login, error)) from error
    finally:
        with suppress(Exception):
            client.close()


def _why(builder: str, login: Login, error: Exception) -> str:
    """What went wrong, and how to mend it."""
    match type(error).__name__:
        case "BadHostKeyException":
            mend = "installed anew? Forget the old key where you provision from, and run `ansible-playbook provision.yml`"
            return f"{builder} ({login.known_as}) shows another host key than {login.known_hosts} has for it; {mend}"
        case "AuthenticationException":
            return f"{builder} does not let in {login.user} by {login.private_key}: run `ansible-playbook provision.yml`"
    words = str(error) or type(error).__name__
    return f"{builder} ({login.known_as}) cannot be followed: {words}; tried again by itself"


def _know(client: Any, builder: str, login: Login) -> None:
    """Tell a client of paramiko's the pinned keys, and to speak with nobody else. Raises Unreached where there is none."""
    import paramiko  # noqa: PLC0415

    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    known = KnownHosts.read(login.known_hosts)
    revoked = known.keys_of(login.known_as, revoked=True)
    pinned = [key for key in known.keys_of(login.known_as) if key not in revoked]
    for key in pinned:
        entry = paramiko.hostkeys.HostKeyEntry.from_line(f"{login.known_as} {key}")
        if entry is not None:
            client.get_host_keys().add(login.known_as, key.type, entry.key)
    if not pinned:
        mend = "run `ansible-playbook provision.yml` for it"
        raise Unreached(f"no host key of {builder} ({login.known_as}) is pinned in {login.known_hosts}: {mend}")
