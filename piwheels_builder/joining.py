"""`make add-builder`: from a stock Pi on the desk to a builder. On the controller; ends in provision.yml, for it alone."""

import argparse
import contextlib
import ipaddress
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from piwheels_builder.errors import BadInput, FleetError
from piwheels_builder.host_keys.asking import Host
from piwheels_builder.host_keys.pinning import Wishes, pin

CHECKOUT = Path(__file__).parents[1]
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,50}[a-z0-9])?")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_ANSWER_SECONDS = 15.0
#: Runs a command with the terminal; returns its exit code.
Runner = Callable[[Sequence[str]], int]


class CannotJoin(FleetError):
    """The host cannot be logged in to, or cannot become root, or was refused by provisioning."""

    exit_code = 69


@dataclass(frozen=True)
class Newcomer:
    """The host that joins: its name in the fleet, and how to log in."""

    name: str
    user: str
    address: str
    port: int = 22

    @classmethod
    def parse(cls, text: str, name: str) -> "Newcomer":
        """Read ``[user@]address[:port]``; version 6 in brackets where a port follows. Raises BadInput."""
        user, at, place = text.rpartition("@")
        address, port = _place(place)
        if at and not _USER.fullmatch(user):
            raise BadInput(f"{user!r} is no user: write HOST=pi@192.168.1.20")
        name = name or _name_of(address)
        if not _NAME.fullmatch(name):
            raise BadInput(f"{name!r} cannot name a builder: lower-case letters, digits, dots and dashes; say NAME=pi3")
        return cls(name, user or "pi", address, port)

    @property
    def variables(self) -> dict[str, Any]:
        port = {} if self.port == 22 else {"ansible_port": self.port}
        return {"ansible_host": self.address, "ansible_user": self.user, **port}

    def ssh(self, fleet: "Fleet", *options: str) -> list[str]:
        known = (
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            "GlobalKnownHostsFile=/dev/null",
            "-o",
            f'UserKnownHostsFile="{fleet.known_hosts}"',
        )
        identity = ("-i", fleet.identity) if fleet.identity else ()
        return [*known, *identity, "-o", "ConnectTimeout=15", "-p", str(self.port), *options, f"{self.user}@{self.address}"]


@dataclass(frozen=True)
class Fleet:
    """The inventory, a directory, and what Ansible says of the index host in it."""

    inventory: Path
    index_host: str
    known_hosts: Path
    #: The private key that Ansible is told to use; empty: ssh finds one.
    identity: str
    #: Variables of each host, by name.
    hosts: dict[str, dict[str, Any]]

    def file_of(self, name: str) -> Path:
        return self.inventory / f"{name}.yml"

    def ask_whether_it_fits(self, newcomer: Newcomer) -> bool:
        """Whether the inventory has the host already. Raises BadInput where it has another one of its name or address."""
        known = self.hosts.get(newcomer.name)
        if known is not None and known.get("ansible_host", newcomer.name) != newcomer.address:
            raise BadInput(
                f"the inventory has a {newcomer.name} already, at {known.get('ansible_host')}: choose another NAME=, or retire "
                f"that one first (ansible-playbook retire.yml -e retire={newcomer.name}) and take it out"
            )
        for name, variables in self.hosts.items():
            if name != newcomer.name and variables.get("ansible_host") == newcomer.address:
                raise BadInput(f"{newcomer.address} is {name} in the inventory: say NAME={name}, or take that one out")
        return known is not None


def _place(text: str) -> tuple[str, int]:
    bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.%a-z]+)\](?::(\d+))?", text)
    plain = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9.-]*)(?::(\d+))?", text)
    if found := bracketed or plain:
        return found[1], int(found[2] or 22)
    with contextlib.suppress(ValueError):
        return str(ipaddress.IPv6Address(text)), 22
    raise BadInput(f"{text!r} is no host: write HOST=pi@192.168.1.20, or HOST=pi@raspberrypi.local")


def _name_of(address: str) -> str:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return address.partition(".")[0].lower()
    raise BadInput(f"what shall the fleet call {address}? Say NAME=pi3")


def read_fleet(inventory: Path) -> Fleet:
    """Ask Ansible what the inventory holds. Raises BadInput for one that no builder can be added to."""
    told = json.loads(_ansible("ansible-inventory", "-i", str(inventory), "--list"))
    members = told.get("index", {}).get("hosts", [])
    if not members:
        raise BadInput(f"{inventory} has no host in the group index: see docs/rack-at-home.md, 3. The inventory")
    variables = ["fleet_supervisor", "fleet_controller_known_hosts", "ansible_ssh_private_key_file | default('')"]
    supervisor, known_hosts, identity = _variables_of(inventory, members[0], variables)
    if supervisor != "systemd":
        raise BadInput(
            f"{inventory} is a fleet of one: its database listens to this machine alone. Begin a fleet with an index host "
            "(docs/rack-at-home.md), move what was built there (make move-database TO=inventory/rack), then add to that one: "
            "make add-builder HOST=... INVENTORY=inventory/rack"
        )
    if not inventory.is_dir():
        raise BadInput(
            f"{inventory} is a file, and a builder is added as a file of its own: make it a directory (mkdir inventory/rack; "
            f"mv {inventory} inventory/rack/hosts.yml), and say INVENTORY=inventory/rack"
        )
    return Fleet(
        inventory,
        members[0],
        Path(known_hosts),
        str(Path(identity).expanduser()) if identity else "",
        told.get("_meta", {}).get("hostvars", {}),
    )


def _variables_of(inventory: Path, host: str, names: Sequence[str]) -> list[Any]:
    """As a playbook would see them."""
    wanted = "{{ [" + ", ".join(names) + "] }}"
    command = ["ansible", "-i", str(inventory), "--playbook-dir", str(CHECKOUT / "playbooks"), host, "-m", "ansible.builtin.debug"]
    told = json.loads(_ansible(*command, "-a", json.dumps({"msg": wanted})))
    values: list[Any] = told["plays"][0]["tasks"][0]["hosts"][host]["msg"]
    return values


def _ansible(program: str, *arguments: str) -> str:
    """What one of Ansible's programs prints as JSON. Raises BadInput with its own words."""
    environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1"}
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=CHECKOUT, env=environment)
    if done.returncode or not done.stdout.lstrip().startswith("{"):
        raise BadInput(f"the inventory cannot be read: {(done.stderr or done.stdout).strip()[-800:]}")
    return done.stdout


def meet(newcomer: Newcomer, fleet: Fleet) -> str:
    """Pin the host's key, and return a line about it. Raises CannotJoin."""
    host = Host(newcomer.name, newcomer.address, newcomer.port)
    report = pin([host], fleet.known_hosts, Wishes(), seconds=_ANSWER_SECONDS)
    forget = f"ssh-keygen -R {shlex.quote(host.known_as)} -f {shlex.quote(str(fleet.known_hosts))}"
    refused = f". If it was installed anew: {forget}, then add it again"
    for trouble, after in ((report.refused, refused), (report.unreachable, "")):
        if newcomer.name in trouble:
            raise CannotJoin(f"{newcomer.name} ({newcomer.address}): {trouble[newcomer.name]}{after}")
    shown = report.keys[newcomer.name].shown
    if newcomer.name in report.pinned:
        return f"{newcomer.name} shows the host key {shown}. It is pinned: from now on no other is believed."
    return f"{newcomer.name} shows the host key it is known by, {shown}."


def let_in(newcomer: Newcomer, fleet: Fleet, run: Runner) -> None:
    """See that this user's key opens the host, and that it may become root there. Raises CannotJoin."""
    if run(["ssh", *newcomer.ssh(fleet, "-o", "BatchMode=yes"), "true"]):
        _bring_key(newcomer, fleet, run)
    if newcomer.user != "root" and run(["ssh", *newcomer.ssh(fleet, "-o", "BatchMode=yes"), "sudo", "-n", "true"]):
        raise CannotJoin(
            f"{newcomer.user} may not become root on {newcomer.name} without a password. On it, run: "
            f"echo '{newcomer.user} ALL=(ALL) NOPASSWD: ALL' | sudo tee /etc/sudoers.d/010_{newcomer.user}-nopasswd"
        )


def _bring_key(newcomer: Newcomer, fleet: Fleet, run: Runner) -> None:
    if not fleet.identity and not any((Path.home() / ".ssh").glob("id_*.pub")) and not os.environ.get("SSH_AUTH_SOCK"):
        raise CannotJoin("you have no ssh key that the host could be opened with: make one with ssh-keygen -t ed25519")
    # ssh-copy-id works in it.
    (Path.home() / ".ssh").mkdir(mode=0o700, exist_ok=True)
    print(f"{newcomer.name} does not know your key yet. Its password for {newcomer.user} is asked for once:", flush=True)
    if run(["ssh-copy-id", *newcomer.ssh(fleet)]):
        raise CannotJoin(
            f"your key could not be brought to {newcomer.user}@{newcomer.address}: is that the user, and the password? If it "
            "allows no passwords, write your key into its card (docs/rack-at-home.md, 1. The cards)"
        )


def write_down(newcomer: Newcomer, fleet: Fleet) -> Path | None:
    """Put the host into the inventory, in one step. Returns the file, or None where it is in it already."""
    if fleet.ask_whether_it_fits(newcomer):
        return None
    path = fleet.file_of(newcomer.name)
    if path.exists():
        raise BadInput(f"{path} is there, and holds no {newcomer.name}: move it away")
    # JSON is YAML, in which a bare name such as on or 3 would be no text.
    lines = [f"    {name}: {json.dumps(value)}" for name, value in newcomer.variables.items()]
    fresh = path.with_name(f".{path.name}~")
    fresh.write_text(
        "\n".join(
            [
                "# Written by make add-builder.",
                "builders:",
                "  hosts:",
                f"    {json.dumps(newcomer.name)}:",
                *(f"  {line}" for line in lines),
                "",
            ]
        )
    )
    fresh.replace(path)
    return path


def provision(newcomer: Newcomer, fleet: Fleet, run: Runner) -> None:
    """Raises CannotJoin where that fails; its own words are above."""
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(fleet.inventory), "provision.yml"]
    if run([*command, "--limit", f"{fleet.index_host},{newcomer.name}"]):
        raise CannotJoin(
            f"{newcomer.name} is in the inventory and not provisioned, for the reason above. Mend it, then run this again, or "
            "ansible-playbook provision.yml"
        )


def in_terminal(command: Sequence[str]) -> int:
    """Run a command in the checkout, with this program's terminal."""
    quiet = command[0] == "ssh"
    done = subprocess.run(command, cwd=CHECKOUT, check=False, stderr=subprocess.DEVNULL if quiet else None)
    return done.returncode


def steps(newcomer: Newcomer, inventory: Path, run: Runner) -> Iterator[str]:
    """All of it, with a line for people after each step. May be run again after any of them. Raises FleetError."""
    fleet = read_fleet(inventory)
    fleet.ask_whether_it_fits(newcomer)
    yield meet(newcomer, fleet)
    let_in(newcomer, fleet, run)
    written = write_down(newcomer, fleet)
    yield f"It is in the inventory now: {written}" if written else f"{newcomer.name} is in the inventory already."
    provision(newcomer, fleet, run)
    shown = shlex.quote(str(inventory))
    yield (
        f"{newcomer.name} is a builder of the fleet. It is handed work by the next run of build.yml:\n"
        f"    ansible-playbook -i {shown} build.yml\n"
        f"and leaves the fleet with:\n"
        f"    ansible-playbook -i {shown} retire.yml -e retire={newcomer.name}"
    )


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/add-builder",
        description="Make a stock Pi a builder of the fleet: pin its host key, bring it your ssh key, put it into the inventory, "
        "provision it. May be run again after anything that went wrong.",
        epilog="Ends with 0, or 64: what was asked cannot be, 69: the host cannot be reached, logged in to or provisioned.",
    )
    parser.add_argument("host", metavar="[USER@]HOST[:PORT]", help="name or address; the user is pi where none is given")
    parser.add_argument("--name", default="", help="what the fleet calls it (default: the first part of its name)")
    default = Path(os.environ.get("ANSIBLE_INVENTORY") or "inventory/rack")
    parser.add_argument(
        "--inventory", type=Path, default=default, metavar="DIR", help="the fleet's inventory (default: %(default)s)"
    )
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None, run: Runner = in_terminal) -> int:
    asked = arguments(words)
    try:
        newcomer = Newcomer.parse(asked.host, asked.name)
        if not asked.inventory.exists():
            raise BadInput(
                f"there is no inventory {asked.inventory}: docs/rack-at-home.md, 3. The inventory, says how to begin one"
            )
        for line in steps(newcomer, asked.inventory.absolute(), run):
            print(line, flush=True)
    except FleetError as error:
        print(f"add-builder: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"add-builder: {error}", file=sys.stderr)
        return BadInput.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
