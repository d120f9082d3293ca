"""Who may come: the builders that the database believes, each by the one certificate that is pinned for it."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import aiosql

from piwheels_builder.db.connect import connected

#: Seconds after which a builder that was retired or quarantined meanwhile is turned away.
REMEMBERED_SECONDS = 30.0
#: More than any fleet has: what is remembered of others is forgotten.
_MOST_REMEMBERED = 10_000
_queries = aiosql.from_path(Path(__file__).with_name("members.sql"), "psycopg2")


class Doorkeeper:
    """``conninfo`` is that of a role which reads the fleet's builders. Several threads may ask; ``clock`` is monotonic."""

    def __init__(self, conninfo: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._conninfo = conninfo
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[int, tuple[str | None, float]] = {}

    def admitted(self, serial: int) -> str | None:
        """The name of the builder with the certificate of this serial number; None where none is believed. Raises DatabaseAway."""
        with self._lock:
            name, asked_at = self._known.get(serial, (None, float("-inf")))
        if self._clock() - asked_at < REMEMBERED_SECONDS:
            return name
        with connected(self._conninfo) as connection:
            found: str | None = _queries.believed_builder(connection, serial=str(serial))
        with self._lock:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[serial] = (found, self._clock())
        return found
