"""A whole rack: up, down, and how it stands."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from tests.netboot.file_server import file_server
from tests.netboot.netbooted import netbooted
from tests.netboot.server import server as netboot_server
from tests.rack import apart, images, machine, nat64, network, places
from tests.rack.addresses import Address, addresses
from tests.rack.commands import RackError, run, say, works
from tests.rack.hired import left_behind
from tests.rack.hosts import Host, host
from tests.rack.power import machine as whole_machine


def chosen(number: int, names: Sequence[str]) -> list[Host]:
    """The hosts of these names, all if there are none; emulated ones last, since they are slowest. Raises RackError."""
    found = [_named(number, name) for name in (names or addresses(number))]
    return sorted(found, key=lambda each: each.address.kind.architecture != "native")


def _named(number: int, name: str) -> Host:
    return next((each for each in _extra(number) if each.name == name), None) or host(name, number)


def _extra(number: int) -> list[Host]:
    """Hosts that are there only where somebody asks for them; who needs another comes first when the rack goes down."""
    return [whole_machine(number), netbooted(number), netboot_server(number), file_server(number), *apart.hosts(number)]


def _made(number: int) -> list[Host]:
    """All hosts of a rack; of the extra ones those that somebody asked for."""
    return [*chosen(number, ()), *(extra for extra in _extra(number) if extra.directory.exists()), *left_behind(number)]


def up(number: int, names: Sequence[str] = ()) -> None:
    """Make what is missing of a rack, switch its hosts on, and wait until they answer. Raises RackError."""
    machine.require_root()
    hosts = chosen(number, names)
    began = time.monotonic()
    machine.install_packages()
    with places.locked(places.lock_of(str(number))):
        _prepare(number, [each.address for each in hosts])
        # Side by side: each waits for the network, and an emulated one takes as long as all the others.
        with ThreadPoolExecutor() as pool:
            list(pool.map(images.base_image, {each.address.kind.image: each.address.kind for each in hosts}.values()))
        for each in hosts:
            _start(each)
        for each in hosts:
            each.wait()
            say(f"{each.name} answers at {each.address.reached_at} ({time.monotonic() - began:.0f} s)")


def _prepare(number: int, wanted: list[Address]) -> None:
    keys = places.state(number) / "ssh"
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (keys / "id.pub").exists():
        (keys / "id").unlink(missing_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"rack {number}", "-f", keys / "id")
    if any(address.kind.architecture == "armhf" for address in wanted):
        machine.enable_arm()
    if not network.forwards(number):
        network.forward(number)
    if any(address.kind.ipv6_only for address in wanted):
        nat64.start(number, [address for address in addresses(number).values() if address.kind.ipv6_only])


def _start(each: Host) -> None:
    if each.is_running():
        return
    images.base_image(each.address.kind)
    say(f"switching {each.name} on")
    each.start()


def down(number: int) -> None:
    """Switch every host off at once and leave nothing of the rack behind but the cache. Raises RackError."""
    machine.require_root()
    with places.locked(places.lock_of(str(number))):
        _hang_up(number)
        for each in _made(number):
            each.remove()
        nat64.stop(number)
        network.stop_forwarding(number)
        places.remove(places.state(number))
    with suppress(OSError):
        places.STATE.rmdir()
    say(f"rack {number} is down; base images are kept in {places.cache()}")


def _hang_up(number: int) -> None:
    """End the connections that ansible keeps open for a minute."""
    for connection in (places.state(number) / "connections").glob("*"):
        works("ssh", "-O", "exit", "-o", f"ControlPath={connection}", "rack")


def status(number: int) -> list[str]:
    """A line for each host."""
    return [f"{each.name:10} {_how(each):12} {each.address.reached_at}" for each in _made(number)]


def _how(each: Host) -> str:
    if not each.directory.exists():
        return "not made"
    if not each.is_running():
        return "off"
    if network.is_cut(each.address):
        return "cable pulled"
    return "answers" if each.answers() else "silent"


def switched_on(number: int, name: str) -> Host:
    """A host that is switched on. Raises RackError."""
    found = _named(number, name)
    if not found.is_running():
        msg = f"{name} is off: `python3 -m tests.rack up {name}` switches it on"
        raise RackError(msg)
    return found
