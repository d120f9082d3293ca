"""Pis of every kind that netboots get every file, byte for byte, from the dnsmasq that the role configured.

Their firmware's questions are asked by boot_rom.py in a network namespace; the server is a host that netboot.yml provisioned.

RACK_KEEP=1 leaves it up. Nothing here shows that a real boot ROM does what boot_rom.py does.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.netboot import card
from tests.netboot.card import Card
from tests.netboot.file_server import INTERFACE, NETWORK, PACKAGES, ROUTER, SERVER, FileServer, file_server
from tests.netboot.models import MODELS
from tests.rack import machine
from tests.rack import rack as racks
from tests.rack.addresses import rack_number
from tests.rack.commands import run
from tests.rack.playbooks import ROOT, Run, play

INVENTORY = "tests/netboot/racked/hosts.yml"
CARDS = "cards"
STATE = "/var/lib/piwheels-builder"
PIS = yaml.safe_load((ROOT / INVENTORY).read_text())["all"]["children"]["racked"]["hosts"]
OF_MODEL = {str(its["netboot_model"]): name for name, its in PIS.items()}


@pytest.fixture(scope="session")
def server() -> Iterator[FileServer]:
    """A bare host, with its Pis' network."""
    number = rack_number()
    machine.install_packages(PACKAGES)
    racks.up(number, [file_server(number).name])
    yield file_server(number)
    if not os.environ.get("RACK_KEEP"):
        racks.down(number)


@pytest.fixture(scope="session")
def image(server: FileServer, tmp_path_factory: pytest.TempPathFactory) -> Card:
    """A card's image, lying on the server as an operator would have put it there."""
    made = card.make(tmp_path_factory.mktemp("card"))
    server.have_loops()
    (server.disks.state / CARDS).mkdir(exist_ok=True)
    shutil.copy(made.packed, server.disks.state / CARDS)
    return made


def netboot(image: Card, *options: str, **extra: Any) -> Run:
    """Run `netboot.yml` as an operator would."""
    images = {"card": {"source": f"{STATE}/{CARDS}/{image.packed.name}", "sha256": image.sha256}}
    return play("netboot.yml", extra={"netboot_server_images": images, **extra}, options=("-i", INVENTORY, *options))


@pytest.fixture(scope="session")
def serving(server: FileServer, image: Card) -> Run:
    """What the first `netboot.yml` said; it succeeded. A root that a run before left over is made anew."""
    server.run("rm", "-rf", f"{STATE}/netboot")
    return netboot(image).succeeded()


@pytest.fixture
def booted(server: FileServer, serving: Run, tmp_path: Path) -> Any:
    """Boots a Pi; what it told, or what it died of."""
    assert serving.code == 0

    def boot(name: str, *options: str, seconds: float = 120) -> "subprocess.CompletedProcess[str]":
        its = PIS[name]
        mac = its["netboot_mac"].lower().replace("-", ":")
        words = ["--model", str(its["netboot_model"]), "--mac", mac, "--serial", its["netboot_serial"][-8:].lower()]
        command = [sys.executable, "-m", "tests.netboot.boot_rom", "--interface", "eth0", "--into", str(tmp_path), *words, *options]
        return subprocess.run(
            server.lan(server.pi, *command), cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False
        )

    return boot


def told(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def differing(got: Path, prefix: str, wanted: Path) -> list[str]:
    """The files below a directory that are not, byte for byte, those of the card. A machine's command line is its own."""
    files = [path for path in got.rglob("*") if path.is_file()]
    places = {path: str(path.relative_to(got)).removeprefix(prefix) for path in files}
    return [
        place for path, place in places.items() if place != "cmdline.txt" and path.read_bytes() != (wanted / place).read_bytes()
    ]


@pytest.mark.parametrize("model", MODELS)
def test_a_pi_gets_every_file(model: str, booted: Any, image: Card, tmp_path: Path) -> None:
    name = OF_MODEL[model]
    its = PIS[name]
    found = told(booted(name))
    assert (found["address"], found["server"]) == (its["netboot_address"], SERVER)
    serial = its["netboot_serial"][-8:].lower()
    prefixed = {ask.name for ask in MODELS[model].files if ask.needed}
    assert {f"{serial}/{name}" for name in prefixed} | {ask.name for ask in MODELS[model].rom if ask.needed} == set(found["files"])
    assert differing(tmp_path, f"{serial}/", image.boot) == []
    line = (tmp_path / serial / "cmdline.txt").read_text()
    root = "images/card" if its.get("netboot_root") == "shared" else f"hosts/{name}/root"
    assert f"nfsroot={SERVER}:{STATE}/netboot/{root}," in line
    assert f"ip={its['netboot_address']}:{SERVER}:{ROUTER}:255.255.255.0:{name}:eth0:off" in line
    print(f"{model}: {len(found['files'])} files, {sum(found['files'].values()) >> 10} KiB in {found['seconds']} s")


@pytest.mark.parametrize("prefix", ["mac", "none"])
def test_every_prefix_leads_to_the_same_files(prefix: str, booted: Any, image: Card, tmp_path: Path) -> None:
    found = told(booted("four", "--prefix", prefix))
    directory = {"mac": "dc-a6-32-aa-bb-04/", "none": ""}[prefix]
    assert f"{directory}kernel8.img" in found["files"]
    assert differing(tmp_path, directory, image.boot) == []


def test_a_pi_whose_serial_number_nobody_knew_is_found_by_its_mac(booted: Any) -> None:
    found = told(booted("five", "--serial", "12345678"))
    assert "kernel_2712.img" in found["files"]


def test_a_stranger_gets_no_address(booted: Any) -> None:
    done = booted("five", "--mac", "d8:3a:dd:00:00:99")
    assert done.returncode != 0
    assert "no server offered an address" in done.stderr


def test_a_3b_that_answers_no_arp_is_served_to_the_end(server: FileServer, booted: Any) -> None:
    # Its server asks within seconds whether it is still there.
    neigh = f"/proc/sys/net/ipv4/neigh/{INTERFACE}"
    # From outside: in the host these files are not to be written.
    hurry = f"echo 500 > {neigh}/base_reachable_time_ms && echo 1 > {neigh}/delay_first_probe_time"
    run(*server.lan(server.address.name, "sh", "-c", hurry))
    # 103 blocks of its boot ROM's first file: ten seconds.
    found = told(booted("three", "--pause", "0.1", "--only", "bootcode.bin", seconds=200))
    assert found["seconds"] > 10
    assert found["files"] == {"bootcode.bin": card.BOOT_FILES["bootcode.bin"]}


def test_roots_are_what_their_machines_need(server: FileServer, serving: Run) -> None:
    assert serving
    place = f"{STATE}/netboot"
    assert "PARTUUID" not in server.must("cat", f"{place}/images/card/etc/fstab")
    assert server.must("cat", f"{place}/hosts/three/root/etc/hostname") == "three\n"
    assert server.must("cat", f"{place}/hosts/four/layer/etc/hostname") == "four\n"
    keys = server.must("sh", "-c", f"cat {place}/hosts/*/*/etc/ssh/ssh_host_ed25519_key.pub").split()[1::3]
    assert len(set(keys)) == len(PIS)
    assert "everybody's" not in server.must("sh", "-c", f"cat {place}/hosts/*/*/etc/ssh/ssh_host_*")


def test_exports_are_for_those_who_need_them(server: FileServer, serving: Run) -> None:
    """Asked by NFS, from a Pi's own address and from its neighbour's, by a client in user space."""
    assert serving
    own, shared = f"{STATE}/netboot/hosts/three/root", f"{STATE}/netboot/images/card"
    with at(server, "10.9.0.3"):
        assert nfs(server, "cat", f"{own}/etc/hostname").stdout == "three\n"
        assert nfs(server, "cat", f"{shared}/etc/fstab").returncode != 0
        assert nfs(server, "cp", f"{own}/etc/written").returncode == 0
        assert server.must("cat", f"{own}/etc/written") == Path(__file__).read_text()
    with at(server, "10.9.0.4"):
        assert "proc" in nfs(server, "cat", f"{shared}/etc/fstab").stdout
        assert nfs(server, "cat", f"{own}/etc/hostname").returncode != 0
        assert nfs(server, "cp", f"{shared}/etc/written").returncode != 0


def test_a_full_file_server_says_so_and_takes_it_back(server: FileServer, serving: Run) -> None:
    assert serving
    flags = [
        f"{STATE}/netboot/{place}/.piwheels/file-server-full"
        for place in ("images/card", "hosts/three/root", "hosts/four/state/lib")
    ]
    server.fill_disk()
    try:
        assert waited(lambda: all(server.run("test", "-e", flag).status == 0 for flag in flags))
        with at(server, "10.9.0.3"):
            assert nfs(server, "cat", flags[1]).returncode == 0
    finally:
        server.free_disk()
    assert waited(lambda: all(server.run("test", "-e", flag).status != 0 for flag in flags))


def test_a_second_run_changes_nothing(image: Card, serving: Run) -> None:
    assert serving
    assert netboot(image).succeeded().changed["files"] == 0


def test_what_cannot_be_is_refused_before_anything_changes(image: Card, serving: Run) -> None:
    assert serving
    refused = netboot(image, "--check", netboot_server_address="10.9.0.2")
    assert refused.code != 0
    assert f"has no address 10.9.0.2 at {INTERFACE}" in re.sub(r"\s+", " ", refused.output)


def test_beside_a_server_that_gives_the_addresses(server: FileServer, image: Card, booted: Any, tmp_path: Path) -> None:
    netboot(image, netboot_server_dhcp="proxy").succeeded()
    with house_router(server):
        for model, name in OF_MODEL.items():
            if model in MODELS:
                found = told(booted(name))
                assert (found["address"], found["server"]) == (PIS[name]["netboot_address"], SERVER)
                assert differing(tmp_path, f"{PIS[name]['netboot_serial'][-8:].lower()}/", image.boot) == []
                shutil.rmtree(tmp_path)
                tmp_path.mkdir()
    assert "no server offered" in booted("five").stderr


@contextmanager
def house_router(server: FileServer) -> Iterator[None]:
    """Another DHCP server on the Pis' network, which knows their addresses and nothing of booting."""
    hosts = [f"--dhcp-host={its['netboot_mac'].replace('-', ':')},{its['netboot_address']}" for its in PIS.values()]
    alone = [
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--port=0",
        "--leasefile-ro",
        "--pid-file=",
        "--interface=switch",
        "--bind-interfaces",
        # As those at home do that look first whether an address is taken.
        "--dhcp-reply-delay=1",
    ]
    command = server.lan(server.switch, "dnsmasq", *alone, f"--dhcp-range={NETWORK.partition('/')[0]},static", *hosts)
    router = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        router.terminate()
        router.wait(10)


@contextmanager
def at(server: FileServer, address: str) -> Iterator[None]:
    """The Pi's namespace has that address, and the MAC that its server expects there."""
    mac = next(its["netboot_mac"] for its in PIS.values() if its["netboot_address"] == address).replace("-", ":")
    inside = ("ip", "-n", server.pi)
    run(*inside, "link", "set", "eth0", "down")
    run(*inside, "address", "flush", "dev", "eth0")
    run(*inside, "link", "set", "eth0", "address", mac, "up")
    run(*inside, "address", "add", f"{address}/24", "dev", "eth0")
    run("ip", "netns", "exec", server.pi, "sysctl", "-q", "net.ipv4.conf.eth0.arp_ignore=0")
    yield
    run(*inside, "address", "flush", "dev", "eth0")


def nfs(server: FileServer, verb: str, path: str) -> "subprocess.CompletedProcess[str]":
    """Read a file by NFS 3, or write this one, as root of a Pi."""
    url = f"nfs://{SERVER}{path}?uid=0&gid=0&version=3"
    words = ["nfs-cat", url] if verb == "cat" else ["nfs-cp", __file__, url]
    return subprocess.run(server.lan(server.pi, *words), capture_output=True, text=True, timeout=60, check=False)


def waited(is_so: Callable[[], bool]) -> bool:
    """Whether it is so within two rounds of the server's timer."""
    until = time.monotonic() + 75
    while time.monotonic() < until:
        if is_so():
            return True
        time.sleep(2)
    return False
