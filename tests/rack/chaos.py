"""Break the rack at random for some minutes: ``make chaos MINUTES=30``. Ends with a table, and with 1 after a violation."""

import argparse
import random
import sys
import time

from tests.rack import rack as racks
from tests.rack.addresses import KINDS, rack_number
from tests.rack.commands import say
from tests.rack.faults import FAULTS, Cell, run_cell, table
from tests.rack.fleet import Fleet
from tests.rack.hosts import host
from tests.rack.playbooks import play
from tests.rack.upstream import serving

#: The index host and the builders that faults happen to; emulated ones would take minutes for a cell.
HOSTS = [kind.name for kind in KINDS if kind.architecture == "native"]


def main() -> int:
    """Until the time is over; the rack stays up for a look where something was violated."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.rack.chaos", description=__doc__)
    parser.add_argument("minutes", type=float)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32, help="what an earlier run drew by")
    asked = parser.parse_args()
    say(f"breaking things for {asked.minutes:.0f} minutes, seed {asked.seed}")
    racks.up(rack_number(), HOSTS)
    play("provision.yml", options=("--limit", ",".join(HOSTS))).succeeded()
    cells = _cells(random.Random(asked.seed), time.monotonic() + 60 * asked.minutes)
    for line in table(cells):
        say(line)
    if any(cell.violations for cell in cells):
        return 1
    racks.down(rack_number())
    return 0


def _cells(chance: random.Random, until: float) -> list[Cell]:
    hosts = {name: host(name, rack_number()) for name in HOSTS}
    gateway = hosts["index"].address.gateway_ipv4
    assert gateway
    cells = []
    with serving(gateway) as upstream, Fleet(hosts["index"]).without("pi1", "pi2"):
        while time.monotonic() < until:
            fault = chance.choice(FAULTS)
            cell = run_cell(hosts, upstream, fault, f"chaos-{chance.randrange(10**9)}")
            say(f"{fault.name}: {cell.builds} builds, {len(cell.violations)} violations")
            for violation in cell.violations:
                say(f"  {violation}")
            cells.append(cell)
    return cells


if __name__ == "__main__":
    sys.exit(main())
