"""The fake API, proved with a client that others wrote for the real one: hostedpi, of the upstream index.

Its known faults are kept out of the way: it never returns from waiting for a reboot, cannot order a Pi 3 with 1 GB, and believes
what it was told for 10 seconds, so that each look here is a new object's.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hostedpi import PiCloud
from hostedpi.exc import (
    HostedPiInvalidParametersError,
    HostedPiNameExistsError,
    HostedPiNotAuthorizedError,
    HostedPiOutOfStockError,
    HostedPiProvisioningError,
    HostedPiServerError,
    MythicAuthenticationError,
)
from hostedpi.models import Pi3ServerSpec, Pi4ServerSpec, SSHKeySources
from hostedpi.pi import Pi

from tests.hosted_pi.fake import FakeApi
from tests.hosted_pi.support import KEY, OTHER_KEY

NAME = "wheels-01"
PI4 = Pi4ServerSpec(memory_gb=8, cpu_speed=2000, disk=20, os_image="rpi-bookworm-arm64")


@pytest.fixture
def cloud(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[PiCloud]:
    """The client, which found the fake by its environment."""
    for name, value in api.environment.items():
        monkeypatch.setenv(name, value)
    cloud = PiCloud()
    yield cloud
    cloud._auth._api_session.close()
    cloud._auth._auth_session.close()


def until(come: Callable[[], Any]) -> None:
    end = time.monotonic() + 10
    while not come():
        assert time.monotonic() < end
        time.sleep(0.01)


def ordered(cloud: PiCloud) -> Pi:
    pi = cloud.create_pi(name=NAME, spec=PI4, ssh_keys=SSHKeySources(ssh_keys={KEY}))
    until(lambda: type(pi.get_provision_status()).__name__ == "PiInfo")
    return cloud.pis[NAME]


def test_what_there_is(cloud: PiCloud) -> None:
    assert {(spec.model, spec.memory, spec.cpu_speed, spec.nic_speed) for spec in cloud._get_available_specs()} == {
        (3, 1024, 1200, 100),
        (4, 4096, 1500, 1000),
        (4, 8192, 1500, 1000),
        (4, 8192, 2000, 1000),
    }
    assert "rpi-bookworm-armhf" in cloud.get_operating_systems(model=3)
    assert cloud.pis == {}


def test_from_its_order_to_its_end(api: FakeApi, cloud: PiCloud) -> None:
    pi = ordered(cloud)
    info = pi.info
    assert (pi.model, pi.memory_mb, pi.cpu_speed, info.disk_size, info.nic_speed) == (4, 8192, 2000, 20, 1000)
    assert str(info.ipv6_address) == "2a00:1098:8:1::1" and str(info.ipv6_network) == "2a00:1098:8:100::/56"
    assert (info.ssh_port, info.provision_status, info.power, info.is_booting) == (5001, "live", True, False)
    assert pi.ssh_keys == {KEY}
    pi.ssh_keys = {KEY, OTHER_KEY}
    assert cloud.pis[NAME].ssh_keys == {KEY, OTHER_KEY}
    pi.off()
    assert cloud.pis[NAME].status == "Powered off"
    api.account.seconds = 99
    pi.on()
    assert cloud.pis[NAME].status == "Booting: Waiting for initial DHCP"
    api.pis[NAME].boots_until = 0
    pi.reboot()
    assert api.pis[NAME].boots == 2
    pi.cancel()
    assert cloud.pis == {}


def test_the_stages_of_an_order(api: FakeApi, cloud: PiCloud) -> None:
    api.account.seconds = 1
    pi = cloud.create_pi(name=NAME, spec=PI4)
    seen: list[str] = []

    def live() -> bool:
        status: Any = pi.get_provision_status()
        if status.provision_status not in seen:
            seen.append(status.provision_status)
        return bool(status.provision_status == "live")

    until(live)
    assert seen == ["Provisioning", "Installing operating system", "Booting Raspberry Pi", "live"]


def test_a_pi_without_a_name_gets_one(api: FakeApi, cloud: PiCloud) -> None:
    pi = cloud.create_pi(spec=PI4)
    until(lambda: type(pi.get_provision_status()).__name__ == "PiInfo")
    assert pi.name in cloud.pis and len(api.pis) == 1


def test_what_is_refused(api: FakeApi, cloud: PiCloud) -> None:
    pi = ordered(cloud)
    with pytest.raises(HostedPiNameExistsError):
        cloud.create_pi(name=NAME, spec=PI4)
    with pytest.raises(HostedPiInvalidParametersError):
        # It sends 3072 MB for a Pi 3, which there is not.
        cloud.create_pi(name="wheels-02", spec=Pi3ServerSpec(memory=1024, memory_gb=3))
    api.faults.out_of_stock = {4}
    with pytest.raises(HostedPiOutOfStockError):
        cloud.create_pi(name="wheels-02", spec=PI4)
    pi.cancel()
    with pytest.raises(HostedPiNotAuthorizedError):
        pi.off()
    api.faults.forbidden = True
    with pytest.raises(HostedPiNotAuthorizedError):
        cloud.pis  # noqa: B018 - asks


def test_what_is_not_provisioned(api: FakeApi, cloud: PiCloud) -> None:
    api.account.seconds = 99
    pi = cloud.create_pi(name=NAME, spec=PI4)
    with pytest.raises(HostedPiProvisioningError, match="not fully provisioned"):
        cloud.pis[NAME].info  # noqa: B018 - asks
    with pytest.raises(HostedPiProvisioningError):
        cloud.pis[NAME].ssh_keys  # noqa: B018 - asks
    # It does not even ask, and does not say so.
    pi.cancel()
    assert api.asked("DELETE") == 0
    assert cloud.session.delete(f"{api.url}/beta/pi/servers/{NAME}").status_code == 409
    assert NAME in api.pis


def test_what_comes_to_nothing(api: FakeApi, cloud: PiCloud) -> None:
    api.faults.fails = {NAME}
    pi = cloud.create_pi(name=NAME, spec=PI4)
    with pytest.raises(HostedPiServerError, match="Provisioning failed"):
        until(lambda: type(pi.get_provision_status()).__name__ == "PiInfo")


@pytest.mark.usefixtures("cloud")
def test_a_wrong_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTEDPI_SECRET", "another")
    stranger = PiCloud()
    with pytest.raises(MythicAuthenticationError):
        stranger.pis  # noqa: B018 - asks
    stranger._auth._auth_session.close()
