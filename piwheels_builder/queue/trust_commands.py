"""The command on a builder that is not to be believed: ``distrust``."""

import argparse
from datetime import datetime

from piwheels_builder.db.connect import connected
from piwheels_builder.errors import BadInput
from piwheels_builder.queue.leasing import builder_loads
from piwheels_builder.queue.trust import distrust
from piwheels_builder.settings import load_fleet


def run_distrust(options: argparse.Namespace) -> int:
    settings, since = load_fleet(), _moment(options.since)
    with connected(settings.conninfo("publisher")) as connection:
        unsaid = distrust(connection, options.builder, since, options.reason, withdraw=options.withdraw)
        retired = options.builder not in {load.name for load in builder_loads(connection)}
    for each in unsaid:
        print(each)
    if any(each.became == "published" for each in unsaid):
        print("what is published stays so: `--withdraw` takes it off its pages")
    if any(each.became == "withdrawn" for each in unsaid):
        print("withdrawn wheels leave their pages at the next publication, and `piwheels-builder requeue` has them built again")
    if retired:
        print(f"{options.builder} is retired, and stays so")
    else:
        print(f"{options.builder} stays quarantined until `piwheels-builder resume {options.builder}`")
    return 0


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{text!r} is no time: write 2026-01-31T12:00Z, for example") from None
