"""A database that goes away and comes back."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from piwheels_builder.db.embedded import EmbeddedDatabase, start
from tests.support.builders import eventually


@contextmanager
def outage(server: EmbeddedDatabase) -> Iterator[None]:
    """The server dies as if it had crashed, in the middle of whatever it does, and is started again after the block."""
    pid_file = server.data_dir / "postmaster.pid"
    os.kill(int(pid_file.read_text().splitlines()[0]), signal.SIGQUIT)
    try:
        eventually(lambda: not pid_file.exists())
        yield
    finally:
        start(server)
