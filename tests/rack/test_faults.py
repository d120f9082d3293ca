"""The fault matrix on real hosts. ``make acceptance`` runs a cell of each kind, ``make acceptance-full`` all of them."""

import os
from collections.abc import Iterator, Mapping

import pytest

from tests.rack.faults import FAULTS, Cell, Fault, run_cell
from tests.rack.hosts import Host
from tests.rack.playbooks import Run
from tests.rack.upstream import Upstream, serving

#: One of each thing that breaks, and of each way to break it.
FEW = (
    "builder-kill",
    "controller-kill",
    "postgresql-kill",
    "nginx-restart",
    "publish-kill",
    "builder-host-kill",
    "index-host-disk",
)


@pytest.fixture(scope="module")
def upstream(rack: Mapping[str, Host]) -> Iterator[Upstream]:
    gateway = rack["index"].address.gateway_ipv4
    assert gateway
    with serving(gateway) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def cells() -> Iterator[list[Cell]]:
    """The table that the run ends with."""
    told: list[Cell] = []
    yield told
    print("\nwho            what       builds  violations")
    for cell in told:
        print(f"{cell.fault.who:14} {cell.fault.what:10} {cell.builds:6}  {len(cell.violations)}")


def chosen() -> list[Fault]:
    whole = os.environ.get("ACCEPTANCE") == "full"
    return [fault for fault in FAULTS if whole or fault.name in FEW]


@pytest.mark.parametrize("fault", chosen(), ids=lambda fault: fault.name)
def test_nothing_is_lost_doubled_or_booked(
    provisioned: Run, rack: Mapping[str, Host], upstream: Upstream, cells: list[Cell], fault: Fault
) -> None:
    assert provisioned
    cell = run_cell(rack, upstream, fault, f"{fault.name}-{os.getpid()}")
    cells.append(cell)
    assert cell.violations == []
