"""What systemd wants to hear from a service (sd_notify(3)); silent where nobody listens."""

import os
import socket


def notify(state: str) -> None:
    """Send ``READY=1``, ``WATCHDOG=1`` or ``STOPPING=1`` to NOTIFY_SOCKET, if it is set."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    # An abstract socket is written with @ for its leading NUL.
    address = "\0" + address[1:] if address.startswith("@") else address
    # A listener that hangs, its buffer full, must not hold the service.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sender:
        try:
            sender.sendto(state.encode(), address)
        except OSError:
            # Whoever listened has gone; that must not end the builds.
            return
