"""The fault matrix on real hosts. ``make acceptance`` runs a cell of each kind, ``make acceptance-full`` all of them."""

import os
from collections.abc import Iterator, Mapping

import pytest

from tests.rack.faults import FAULTS, Cell, Fault, run_cell, table
from tests.rack.fleet import Fleet
from tests.rack.hosts import Host
from tests.rack.playbooks import Run
from tests.rack.upstream import Upstream, serving

#: What `make acceptance` has the time for: a service, the database, a whole host.
FEW = ("builder-kill", "postgresql-kill", "builder-host-kill")


@pytest.fixture(scope="module")
def upstream(rack: Mapping[str, Host]) -> Iterator[Upstream]:
    gateway = rack["index"].address.gateway_ipv4
    assert gateway
    with serving(gateway) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def natives(provisioned: Run, rack: Mapping[str, Host]) -> Iterator[Mapping[str, Host]]:
    """The rack, whose emulated builders are no members meanwhile: each of their builds takes as long as a whole cell."""
    assert provisioned
    with Fleet(rack["index"]).without("pi1", "pi2"):
        yield rack


@pytest.fixture(scope="module")
def cells() -> Iterator[list[Cell]]:
    """What the table is made of that the run ends with."""
    told: list[Cell] = []
    yield told
    print("\n" + "\n".join(table(told)))


def chosen() -> list[Fault]:
    whole = os.environ.get("ACCEPTANCE") == "full"
    return [fault for fault in FAULTS if whole or fault.name in FEW]


@pytest.mark.parametrize("fault", chosen(), ids=lambda fault: fault.name)
def test_nothing_is_lost_doubled_or_booked(
    natives: Mapping[str, Host], upstream: Upstream, cells: list[Cell], fault: Fault
) -> None:
    cell = run_cell(natives, upstream, fault, f"{fault.name}-{os.getpid()}")
    cells.append(cell)
    assert cell.violations == []
