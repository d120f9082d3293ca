"""The inventory that docs/netboot-rack.md copies describes machines that the file server takes, and sets only what there is."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from piwheels_builder.netboot.machines import Server, read

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "inventory/netboot.example"


def listed() -> dict[str, Any]:
    command = [str(Path(sys.executable).with_name("ansible-inventory")), "-i", str(EXAMPLE), "--list"]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_its_machines_can_be_served() -> None:
    found = listed()
    hosts = found["_meta"]["hostvars"]
    its = hosts[found["netboot"]["hosts"][0]]
    names = ("address", "network", "router")
    server = Server.from_mapping({"directory": "/srv/netboot", **{name: its[f"netboot_server_{name}"] for name in names}})
    (image,) = its["netboot_server_images"]
    given = [
        {"name": name, "image": image, **{key: hosts[name][f"netboot_{key}"] for key in ("mac", "address", "model", "serial")}}
        for name in found["netbooted"]["hosts"]
    ]
    assert {machine.model for machine in read(given, server, [image])} == {"3B", "4", "5"}


def test_it_sets_only_what_there_is() -> None:
    known = yaml.safe_load((ROOT / "roles/netboot_server/defaults/main.yml").read_text())
    chosen = {name for path in EXAMPLE.glob("group_vars/*.yml") for name in yaml.safe_load(path.read_text())}
    assert {name for name in chosen if not name.startswith("ansible_")} <= set(known)
