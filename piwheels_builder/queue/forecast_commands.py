"""The command ``plan``: what a run has before it, told before it starts."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from piwheels_builder.db.connect import connected
from piwheels_builder.queue.forecast import Forecast, forecast
from piwheels_builder.settings import load_fleet


def run_plan(options: argparse.Namespace) -> int:
    with connected(load_fleet().conninfo("reader")) as connection:
        found = forecast(connection)
    if options.json:
        more = {"slot_seconds": found.slot_seconds, "seconds_left": found.seconds_left, "bytes": found.bytes}
        print(json.dumps({**asdict(found), **more}))
    else:
        print("\n".join(_told(found, datetime.now(UTC))))
    return 0


def _told(found: Forecast, now: datetime) -> Iterator[str]:
    for each in found.work:
        nobody = "" if each.slots else "; no active builder serves it"
        yield f"{each.target}: {each.builds} builds, {_days(found.bias * each.seconds)} of one slot, {each.slots} slots{nobody}"
    yield f"in all: {found.builds} builds, {_days(found.slot_seconds)} of one slot, {found.slots} slots"
    if found.seconds_left is None:
        yield "it does not end: add a builder for each target, or retire those that had it"
    else:
        end = now + timedelta(seconds=found.seconds_left)
        yield f"over at the earliest in {_days(found.seconds_left)}, on {end:%Y-%m-%d %H:%M} UTC"
    yield f"disk: {found.bytes / 1e9:.1f} GB of wheels: {found.built:.0%} of attempts make one, of {found.wheel_bytes / 1e3:.0f} kB"
    if found.error is None:
        yield "estimates: by the size of sdists alone, since nothing was built yet; they may be off by ten times"
    else:
        error = found.error
        yield (
            f"estimates: of the latest {error.attempts} attempts half were off by {error.median:.1f} times or less, nine in ten by"
            f" {error.p90:.1f}; together they took {error.bias:.2f} times what was estimated, and the above is corrected by that"
        )


def _days(seconds: float) -> str:
    return f"{seconds / 86400:.1f} days" if seconds >= 86400 else f"{seconds / 3600:.1f} hours"
