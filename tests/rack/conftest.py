"""A rack for the length of a test run: brought up, provisioned once by the project's own playbook, taken down.

RACK_KEEP=1 leaves it up for a look, and for a next run that then begins in seconds. RACK_HOSTS=index,bookworm,trixie brings up, and
provisions, only these: enough for the fault matrix, whose builders are the native ones.
"""

import os
from collections.abc import Iterator, Mapping

import pytest

from tests.rack import rack as racks
from tests.rack.addresses import KINDS, rack_number
from tests.rack.attacks import OUTBOX, SERVICE, Intruder, Operator
from tests.rack.fleet import Fleet
from tests.rack.hosts import Host, host
from tests.rack.playbooks import Run, play

#: What `make acceptance` leaves to `make acceptance-full`, since a change must pass within three quarters of an hour.
collect_ignore_glob = (
    []
    if os.environ.get("ACCEPTANCE") == "full"
    else [
        "test_database_host.py",
        "test_hosted_pis.py",
        "test_hosts.py",
        "test_hostile_*.py",
        "test_idle.py",
        "test_power_cut.py",
        "test_relay.py",
        "test_retire.py",
        "test_two_controllers.py",
        "test_wheelhouse.py",
    ]
)


def pytest_configure() -> None:
    if os.geteuid() != 0:
        pytest.exit("a rack needs root: it mounts, makes networks and starts hosts. Run this with sudo.", returncode=77)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # It takes the database away from the index host.
    items.sort(key=lambda item: item.path.name == "test_database_host.py")


@pytest.fixture(scope="session")
def rack() -> Iterator[Mapping[str, Host]]:
    """Every host of the rack, by name; all of them answer."""
    number = rack_number()
    names = _some() or [kind.name for kind in KINDS]
    racks.up(number, names)
    yield {name: host(name, number) for name in names}
    if not os.environ.get("RACK_KEEP"):
        racks.down(number)


@pytest.fixture(scope="session")
def provisioned(rack: Mapping[str, Host]) -> Run:
    """What the first ``provision.yml`` said; it succeeded."""
    assert rack
    return play("provision.yml", options=("--limit", ",".join(_some())) if _some() else ()).succeeded()


def _some() -> list[str]:
    return [name for name in os.environ.get("RACK_HOSTS", "").split(",") if name]


@pytest.fixture(scope="module")
def operator(provisioned: Run, rack: Mapping[str, Host]) -> Iterator[Operator]:
    """Who looks on from the index host, whose own rounds are stopped meanwhile."""
    assert provisioned
    operator = Operator(Fleet(rack["index"]), "bookworm")
    operator.index.must("systemctl", "stop", "piwheels-build.timer", "piwheels-build.service")
    # Else they are given builds of targets that the builder which is taken over is to have.
    with operator.fleet.without("pi1", "pi2"):
        yield operator
    operator.index.must("systemctl", "start", "piwheels-build.timer")


@pytest.fixture(scope="module")
def intruder(operator: Operator, rack: Mapping[str, Host]) -> Iterator[Intruder]:
    """Who has taken the builder bookworm over. Afterwards it is an honest member again."""
    intruder = Intruder(rack["bookworm"])
    intruder.host.must("systemctl", "stop", SERVICE)
    yield intruder
    operator.make_amends()
    intruder.host.must("sh", "-c", f"rm -rf {OUTBOX}/*-*")
    intruder.host.must("systemctl", "start", SERVICE)
