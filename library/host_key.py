#!/usr/bin/python
"""Ansible module: pin the host keys of ssh servers on first contact, and refuse a key that changed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_key
short_description: Pin the host keys of ssh servers on first contact, and refuse a key that changed
description:
  - Asks every host for its key, all at the same time, and compares it with the known_hosts file. A host that is not in it is
    added and shown with its fingerprint. A host that shows another key than it is known by is refused, and never overwritten.
  - Runs on the controller, once for all hosts. It logs in nowhere. Jump hosts and F(~/.ssh/config) are not for it - a host behind
    one is reported as unreachable, and its line has to be added by hand.
  - Hashed names, C([host]:port), patterns and revoked keys are understood; other lines are left as they are.
options:
  hosts:
    description: The hosts, each with its O(hosts[].name) in the inventory.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What the inventory calls it.
        type: str
        required: true
      address:
        description: Name or address that ssh connects to.
        type: str
        required: true
      port:
        description: Where its ssh server listens.
        type: int
        default: 22
  known_hosts:
    description: The file to compare with and to pin in. Made if missing, readable by everybody.
    type: path
    required: true
  expected:
    description:
      - Keys by the host's name, each a list of lines like V(ssh-ed25519 AAAA...), from whoever knew the host before. At first
        contact the host must show one of them.
    type: dict
    default: {}
  forget:
    description: Names of hosts that were installed anew. They may show another key, which takes the place of the old one.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds that a host has to answer.
    type: float
    default: 10
attributes:
  check_mode:
    description: Asks the hosts and tells what would be pinned.
    support: full
  diff_mode:
    description: Shows the lines added to the file.
    support: full
"""

EXAMPLES = r"""
- name: Pin the host keys of the fleet
  host_key:
    known_hosts: "{{ inventory_dir }}/known_hosts"
    hosts:
      - {name: pi1, address: 192.0.2.11}
      - {name: pi2, address: "2001:db8::12", port: 2222}
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
host_keys:
  description: The key of each host that is known now, by name, also of those that were not reached.
  returned: always
  type: dict
  sample: {pi1: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI...}
pinned:
  description: Type and fingerprint of each key that was pinned just now, by name.
  returned: always
  type: dict
  sample: {pi1: "ssh-ed25519 SHA256:..."}
refused:
  description: Why a host was refused, by name. The module fails where there is one, after the others were pinned.
  returned: always
  type: dict
unreachable_hosts:
  description: Why a host did not tell its key, by name. The module fails only where none did.
  returned: always
  type: dict
"""

import traceback
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from piwheels_builder.errors import BadInput, FleetError
    from piwheels_builder.host_keys.asking import Host
    from piwheels_builder.host_keys.known_hosts import HostKey
    from piwheels_builder.host_keys.pinning import Report, Wishes, pin
except ImportError:
    IMPORT_ERROR: str | None = traceback.format_exc()
else:
    IMPORT_ERROR = None

HOST = {
    "name": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "default": 22},
}
ARGUMENTS = {
    "hosts": {"type": "list", "elements": "dict", "required": True, "options": HOST},
    "known_hosts": {"type": "path", "required": True},
    "expected": {"type": "dict", "default": {}},
    "forget": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "float", "default": 10.0},
}


def main() -> None:
    # "keys" of known_hosts are public: nothing here is a secret, whatever Ansible thinks of the name.
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("piwheels_builder and paramiko"), exception=IMPORT_ERROR)
    try:
        report = run(module.params, check=module.check_mode)
    except FleetError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{module.params['known_hosts']} cannot be written: {error.strerror}")
    tell(module, report)


def run(params: dict[str, Any], *, check: bool) -> Report:
    hosts = [Host(**host) for host in params["hosts"]]
    expected = {name: [HostKey.parse(line) for line in as_lines(name, lines)] for name, lines in params["expected"].items()}
    wishes = Wishes(expected, params["forget"])
    return pin(hosts, Path(params["known_hosts"]), wishes, seconds=params["timeout"], check=check)


def as_lines(name: str, lines: Any) -> list[str]:
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise BadInput(f"expected.{name} must be a list of keys, each a line like: ssh-ed25519 AAAA...")
    return lines


def tell(module: AnsibleModule, report: Report) -> None:
    path = module.params["known_hosts"]
    for name, key in report.pinned.items():
        module.warn(f"{name} is new: {key.shown} {'would be' if module.check_mode else 'was'} pinned in {path}")
    for name, why in report.unreachable.items():
        module.warn(f"{name} did not tell its host key: {why}")
    result = {
        "changed": bool(report.pinned),
        "host_keys": {name: str(key) for name, key in report.keys.items()},
        "pinned": {name: key.shown for name, key in report.pinned.items()},
        "refused": report.refused,
        "unreachable_hosts": report.unreachable,
        "diff": {"before": "", "after": "".join(f"{line}\n" for line in report.added)},
    }
    if report.refused:
        module.fail_json(msg="; ".join(report.refused.values()), **result)
    if report.unreachable and len(report.unreachable) == len(module.params["hosts"]):
        why = "; ".join(f"{name}: {why}" for name, why in report.unreachable.items())
        module.fail_json(msg=f"no host told its host key: are they on, and is the network there? {why}", **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
