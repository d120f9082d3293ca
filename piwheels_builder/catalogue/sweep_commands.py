"""The command ``sweep``."""

import argparse
import sys
import time

from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.catalogue.sweep import Swept, sweep, sweep_again
from piwheels_builder.db.connect import connected
from piwheels_builder.settings import load_fleet

#: Seconds between two lines of progress.
_EVERY = 10


def run_sweep(options: argparse.Namespace) -> int:
    settings = load_fleet()
    progress = _Progress()
    with connected(settings.conninfo("dispatcher")) as connection:
        if options.again:
            sweep_again(connection)
            connection.commit()
        swept = sweep(connection, Policy.of(settings), seconds=options.seconds, told=progress)
    left = f"; {swept.left:,} projects are left, the next sweep goes on" if swept.left else ""
    print(f"{swept.projects:,} projects looked at, {swept.queued:,} builds wanted{left}")
    return 0


class _Progress:
    """Says how far a sweep is, and when it will be through."""

    def __init__(self) -> None:
        self._begun = self._last = time.monotonic()

    def __call__(self, swept: Swept) -> None:
        now = time.monotonic()
        if now - self._last < _EVERY:
            return
        self._last = now
        rate = swept.projects / (now - self._begun)
        minutes = swept.left / rate / 60 if rate else 0
        print(
            f"{swept.projects:,} projects looked at, {swept.queued:,} builds wanted; {rate:,.0f} a second, {minutes:,.0f} min left",
            file=sys.stderr,
        )
