"""What the tests of client, states and module share."""

from collections.abc import Callable
from threading import Thread, Timer
from time import monotonic, sleep
from typing import Any

from plugins.module_utils.hosted_pi import HostedPi, Waiting, Wanted
from plugins.module_utils.mythic_beasts import Account, Client, Specification
from tests.hosted_pi.fake import FakeApi

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFirst operator@desk"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOther index@host"


def account(api: FakeApi, **instead: str) -> Account:
    told = api.environment
    arguments = {
        "key_id": told["HOSTEDPI_ID"],
        "secret": told["HOSTEDPI_SECRET"],
        "auth_url": told["HOSTEDPI_AUTH_URL"],
        "api_url": told["HOSTEDPI_API_URL"],
    }
    return Account(**{**arguments, **instead})


def client(api: FakeApi, **arguments: Any) -> Client:
    """One that has no patience, unless it is given some."""
    return Client(account(api), **{"timeout": 5.0, "interval": 0.02, "patience": 0.0, **arguments})


def hosted_pi(
    api: FakeApi, wanted: Wanted, *, seconds: float = 10.0, patience: float = 1.0, wait: bool = True, check: bool = False
) -> HostedPi:
    """As the module makes one; polls each 50 ms."""
    return HostedPi(client(api, patience=patience), wanted, Waiting(seconds if wait else 0, 0.05), wait=wait, check=check)


def when(come: Callable[[], bool], act: Callable[[], object]) -> None:
    """Do it as soon as something has come, while the test goes on."""

    def run() -> None:
        while not come():
            sleep(0.005)
        act()

    Thread(target=run, daemon=True).start()


def later(seconds: float, act: Callable[[], object]) -> None:
    timer = Timer(seconds, act)
    timer.daemon = True
    timer.start()


NAME = "wheels-01"
WANTED = Wanted(NAME, (Specification(model=4, memory=8192, disk=20),), keys=(KEY,))


def present(api: FakeApi, wanted: Wanted = WANTED, **arguments: Any) -> HostedPi:
    """What became of asking for it."""
    pi = hosted_pi(api, wanted, **arguments)
    pi.present()
    return pi


def wait_until(api: FakeApi, stage: str | None) -> None:
    """For that of the Pi's coming to be."""
    until = monotonic() + 10
    while api.pis[NAME].stage != stage:
        assert monotonic() < until
        sleep(0.005)
