"""Ask a server for its host key, as ssh would, and hang up before logging in. The answer is a stranger's."""

import contextlib
import logging
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

import paramiko

from piwheels_builder.errors import FleetError
from piwheels_builder.host_keys.known_hosts import HostKey, known_as

#: What a server is asked for, best first.
_ALGORITHMS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
#: Algorithms that are called otherwise than the type of their key.
_KEY_TYPES = {"rsa-sha2-512": "ssh-rsa", "rsa-sha2-256": "ssh-rsa"}
# What goes wrong is told once, by Unanswered.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Host:
    """A host as the inventory has it: its name there, and where its ssh server listens."""

    name: str
    address: str
    port: int = 22

    @property
    def known_as(self) -> str:
        return known_as(self.address, self.port)


class Unanswered(FleetError):
    """A server did not tell its host key. The message is why, in a few words."""

    exit_code = 69


def ask(host: Host, known_types: Sequence[str], seconds: float) -> HostKey:
    """The key the server shows, of one of ``known_types`` if it has such a one, else the best it has. Raises Unanswered.

    ``seconds`` bounds connecting, and all that follows together.
    """
    try:
        connection = socket.create_connection((host.address, host.port), timeout=seconds)
    except (OSError, UnicodeError) as error:
        raise Unanswered(getattr(error, "strerror", None) or str(error) or type(error).__name__) from error
    try:
        return _negotiate(connection, known_types, seconds)
    finally:
        # First of all, since a server that never stops talking would hold the thread that listens.
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


def _negotiate(connection: socket.socket, known_types: Sequence[str], seconds: float) -> HostKey:
    gives_up = time.monotonic() + seconds
    transport = paramiko.Transport(connection)
    # Ours ends sooner; what paramiko would wait for by itself is fifteen seconds.
    transport.banner_timeout = seconds
    try:
        transport.get_security_options().key_types = _ordered(known_types)
        transport.start_client(timeout=seconds)
        if time.monotonic() >= gives_up:
            raise Unanswered(f"no host key within {seconds:g} s")
        key = transport.get_remote_server_key()
        return HostKey.parse(f"{key.get_name()} {key.get_base64()}")
    except FleetError:
        raise
    except Exception as error:
        # Whatever a stranger's bytes make a parser raise.
        silent = time.monotonic() >= gives_up
        raise Unanswered(f"no host key within {seconds:g} s" if silent else _words(error)) from error
    finally:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        transport.close()


def _ordered(known_types: Sequence[str]) -> list[str]:
    # A sort keeps the order of equals.
    return sorted(_ALGORITHMS, key=lambda algorithm: _KEY_TYPES.get(algorithm, algorithm) not in known_types)


def _words(error: Exception) -> str:
    """What a library says, on one line: part of it may be the server's own words."""
    words = "".join(letter if letter.isprintable() else "?" for letter in str(error))[:200]
    return f"no ssh server answers there ({words or type(error).__name__})"
