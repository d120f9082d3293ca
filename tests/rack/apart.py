"""Hosts of the rack for a database of its own and a replica of it, there only where they are asked for: with_database.yml."""

from tests.rack.addresses import Address, Kind
from tests.rack.hosts import Host

INVENTORY = "tests/rack/with_database.yml"
#: In places that no other host has.
KINDS = (Kind("database", 12, "bookworm", "native"), Kind("copy", 13, "bookworm", "native"))


def hosts(number: int) -> list[Host]:
    """Both hosts of a rack, whether they were made yet or not."""
    return [Host(Address(number, kind)) for kind in KINDS]
