"""The command ``plan``: what a run has before it, told before it starts."""

import argparse
import json
from dataclasses import asdict
from datetime import UTC, datetime

from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.db.connect import connected
from piwheels_builder.queue.forecast import forecast, told
from piwheels_builder.settings import load_fleet


def run_plan(options: argparse.Namespace) -> int:
    settings = load_fleet()
    with connected(settings.conninfo("reader")) as connection:
        found = forecast(connection, Policy.of(settings))
    if options.json:
        more = {
            "slot_seconds": found.slot_seconds,
            "pi_seconds": found.pi_seconds(found.slot_seconds),
            "seconds_left": found.seconds_left,
            "bytes": found.bytes,
        }
        print(json.dumps({**asdict(found), **more}))
    else:
        print("\n".join(told(found, datetime.now(UTC))))
    return 0
