#!/usr/bin/python
"""Ansible module: have a file server keep what netbooted machines boot from."""

from __future__ import annotations

DOCUMENTATION = r"""
module: netboot_tree
short_description: Have a file server keep what netbooted machines boot from
description:
  - Takes roots and boot files from the images of operating systems, each once; makes a root, or a layer over a shared one, for each
    machine; lays out what their firmware asks for by TFTP. What an interrupted run left is made anew.
  - Removes nothing but files under the TFTP root. The root of a machine that left the inventory stays.
  - Runs on the file server as root, with the interpreter of the virtual environment that piwheels_builder is installed in.
options:
  server:
    description: What machines know of the server.
    type: dict
    required: true
    suboptions:
      directory:
        description: Where everything is kept.
        type: path
        required: true
      address:
        description: Its IPv4 address on the machines' network.
        type: str
        required: true
      network:
        description: That network, as address and length.
        type: str
        required: true
      router:
        description: The machines' default router; empty for none.
        type: str
        default: ""
  images:
    description: By name, C(source), and for an image file its C(sha256); for a directory C(boot), if its boot files are elsewhere.
    type: dict
    required: true
  machines:
    description: Name, mac, address, model, serial, root and image of each.
    type: list
    elements: dict
    required: true
  login_keys:
    description: Public ssh keys that log in as root.
    type: list
    elements: str
    required: true
    no_log: false
  resolvers:
    description: DNS servers of the machines.
    type: list
    elements: str
    default: []
  first_process:
    description: The script that starts a machine on a shared root.
    type: str
    required: true
  nfs_version:
    description: What machines mount their roots with.
    type: str
    required: true
  kernel_options:
    description: More words for every kernel command line.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Tells what would be made.
    support: full
  diff_mode:
    description: Names what is made.
    support: full
"""

EXAMPLES = r"""
- name: Have the roots and boot files
  netboot_tree:
    server: {directory: /srv/netboot, address: 10.9.0.1, network: 10.9.0.0/24}
    images: {bookworm: {source: /root/bookworm.img.xz, sha256: "{{ netboot_sha256 }}"}}
    machines: [{name: pi1, mac: "dc:a6:32:01:02:03", address: 10.9.0.11, model: "4", root: own, image: bookworm}]
    login_keys: [ssh-ed25519 AAAA operator]
    first_process: "{{ lookup('ansible.builtin.file', 'first-process') }}"
    nfs_version: "3"
"""

RETURN = r"""
done:
  description: What was made, or would be.
  returned: success
  type: list
machines:
  description: The machines by name, each C(name), C(mac), C(address), C(model), C(serial), C(shared) and C(image).
  returned: success
  type: list
exports:
  description: What to export, each C(path), C(number), C(uuid), C(clients), C(writable).
  returned: success
  type: list
"""

import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from piwheels_builder.errors import FleetError
    from piwheels_builder.netboot import machines as found
    from piwheels_builder.netboot.command_line import command_line, exports
    from piwheels_builder.netboot.converge import Rack
    from piwheels_builder.netboot.prepare import Settings
    from piwheels_builder.netboot.roots import Image, Roots
except ImportError:
    IMPORT_ERROR: str | None = traceback.format_exc()
else:
    IMPORT_ERROR = None

ARGUMENTS = {
    "server": {
        "type": "dict",
        "required": True,
        "options": {
            "directory": {"type": "path", "required": True},
            "address": {"type": "str", "required": True},
            "network": {"type": "str", "required": True},
            "router": {"type": "str", "default": ""},
        },
    },
    "images": {"type": "dict", "required": True},
    "machines": {"type": "list", "elements": "dict", "required": True},
    "login_keys": {"type": "list", "elements": "str", "required": True, "no_log": False},
    "resolvers": {"type": "list", "elements": "str", "default": []},
    "first_process": {"type": "str", "required": True},
    "nfs_version": {"type": "str", "required": True},
    "kernel_options": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("piwheels_builder"), exception=IMPORT_ERROR)
    try:
        result = run(module.params, check_mode=module.check_mode)
    except FleetError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"the file server cannot keep it: {error}")
    diff = {"before": "", "after": "".join(f"{line}\n" for line in result["done"])}
    module.exit_json(changed=bool(result["done"]), diff=diff, **result)


def run(params: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Raises FleetError, OSError."""
    server = found.Server.from_mapping(params["server"])
    images = tuple(Image.from_mapping(name, given) for name, given in sorted(params["images"].items()))
    machines = tuple(found.read(params["machines"], server, params["images"]))
    settings = Settings(tuple(params["login_keys"]), tuple(params["resolvers"]), params["first_process"])
    lines = {machine.name: command_line(machine, server, params["nfs_version"], params["kernel_options"]) for machine in machines}
    done = []
    for step in Rack(Roots(Path(server.directory), settings), images, machines, lines).steps():
        done.append(step.what)
        if not check_mode:
            step.do()
    return {
        "done": done,
        "machines": [asdict(machine) for machine in machines],
        "exports": [asdict(export) for export in exports(machines, server)],
    }


if __name__ == "__main__":
    main()
