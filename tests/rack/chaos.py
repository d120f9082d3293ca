"""Break the rack at random for some minutes: ``make chaos MINUTES=30``. Ends with a table, and with 1 after a violation."""

import argparse
import random
import sys
import time
from collections import Counter

from tests.rack import rack as racks
from tests.rack.addresses import KINDS, rack_number
from tests.rack.commands import say
from tests.rack.faults import FAULTS, Cell, run_cell
from tests.rack.hosts import host
from tests.rack.playbooks import play
from tests.rack.upstream import serving


def main() -> int:
    """Until the time is over; the rack stays up for a look where something was violated."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.rack.chaos", description=__doc__)
    parser.add_argument("minutes", type=float)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32, help="what an earlier run drew by")
    asked = parser.parse_args()
    say(f"breaking things for {asked.minutes:.0f} minutes, seed {asked.seed}")
    racks.up(rack_number())
    play("provision.yml").succeeded()
    cells = _cells(random.Random(asked.seed), time.monotonic() + 60 * asked.minutes)
    _tell(cells)
    if any(cell.violations for cell in cells):
        return 1
    racks.down(rack_number())
    return 0


def _cells(chance: random.Random, until: float) -> list[Cell]:
    hosts = {kind.name: host(kind.name, rack_number()) for kind in KINDS}
    gateway = hosts["index"].address.gateway_ipv4
    assert gateway
    cells = []
    with serving(gateway) as upstream:
        while time.monotonic() < until:
            fault = chance.choice(FAULTS)
            cell = run_cell(hosts, upstream, fault, f"chaos-{chance.randrange(10**9)}")
            say(f"{fault.name}: {cell.builds} builds, {len(cell.violations)} violations")
            for violation in cell.violations:
                say(f"  {violation}")
            cells.append(cell)
    return cells


def _tell(cells: list[Cell]) -> None:
    times = Counter(cell.fault.name for cell in cells)
    builds = Counter[str]()
    wrong = Counter[str]()
    for cell in cells:
        builds[cell.fault.name] += cell.builds
        wrong[cell.fault.name] += len(cell.violations)
    say(f"{'cell':26} {'times':>6} {'builds':>7} {'violations':>11}")
    for name in sorted(times):
        say(f"{name:26} {times[name]:6} {builds[name]:7} {wrong[name]:11}")


if __name__ == "__main__":
    sys.exit(main())
