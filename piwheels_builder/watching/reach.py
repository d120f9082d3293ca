"""Where the files of each builder are: here, or behind an ssh server. Who calls: commands.py, once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from piwheels_builder.errors import BadInput
from piwheels_builder.host_keys.known_hosts import known_as
from piwheels_builder.settings import load_builder


@dataclass(frozen=True)
class Login:
    """How the index host's own rounds log in to a builder; ``known_hosts`` holds the host keys that were pinned."""

    address: str
    port: int
    user: str
    private_key: Path
    known_hosts: Path

    @property
    def known_as(self) -> str:
        return known_as(self.address, self.port)


@dataclass(frozen=True)
class Place:
    """A builder's state directory; without a ``login`` it is one of this host."""

    builder: str
    state_dir: str
    login: Login | None = None


def places(configuration: Path) -> dict[str, Place]:
    """Of every builder, by its name, as provisioning has told this host. Raises BadInput for an inventory that is none."""
    found = {}
    inventory = configuration / "controller/inventory.yml"
    if inventory.exists():
        found = _in_inventory(inventory)
    if (configuration / "builder.yml").exists():
        here = load_builder(configuration / "builder.yml")
        found[here.name] = Place(here.name, str(here.state_dir))
    return found


def _in_inventory(path: Path) -> dict[str, Place]:
    import yaml  # noqa: PLC0415 - no other command of this room needs it

    try:
        everything = yaml.safe_load(path.read_text(encoding="utf-8"))["all"]
        shared, builders = everything["vars"], everything["children"]["builders"]["hosts"]
        return {name: _place(name, {**shared, **(its or {})}) for name, its in builders.items()}
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}): run this as root, or as the dispatcher's user") from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"{path} is no inventory of provisioning's: run `ansible-playbook provision.yml`") from error


def _place(name: str, variables: Mapping[str, Any]) -> Place:
    login = Login(
        str(variables["ansible_host"]).lower(),
        int(variables["ansible_port"]),
        str(variables["ansible_user"]),
        Path(variables["ansible_ssh_private_key_file"]),
        Path(variables["fleet_controller_known_hosts"]),
    )
    usual = f"{variables['fleet_state_dir']}/builder"
    return Place(name, str(variables.get("dispatch_builder_state_dir") or usual), login)
