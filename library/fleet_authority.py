#!/usr/bin/python
"""Ansible module: have the fleet's certificate authority, and the index host's certificate by it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_authority
short_description: Have the fleet's certificate authority, and the index host's certificate by it
description:
  - Makes the authority once. Its key stays in a directory that root alone can read.
  - Makes the server's certificate where it is missing, names other names, has fewer than 30 days left, or is another authority's.
options:
  directory:
    description: Where the authority keeps its key, its certificate and those of the builders.
    type: path
    required: true
  server_dir:
    description: Where C(server.pem) and C(server.key) lie.
    type: path
    required: true
  names:
    description: Names and addresses of the server.
    type: list
    elements: str
    required: true
  group:
    description: A group that may read the server's key.
    type: str
  now:
    description: The controller's time, in seconds since the epoch. Refused where this host's differs by ten minutes or more.
    type: float
attributes:
  check_mode:
    description: Tells what would be made.
    support: full
  diff_mode:
    description: Names what is made.
    support: full
"""

EXAMPLES = r"""
- name: Have the fleet's authority and the server's certificate
  fleet_authority:
    directory: /etc/piwheels-builder/authority
    server_dir: /etc/piwheels-builder/tls
    names: [index.example, 192.0.2.1]
    group: postgres
    now: "{{ now().timestamp() }}"
"""

RETURN = r"""
certificate:
  description: The authority's certificate, as PEM; empty where a dry run made none.
  returned: always
  type: str
made:
  description: What was made, of authority and server.
  returned: always
  type: list
"""

import traceback
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from piwheels_builder.authority import Authority, Server, check_clock, due, make
    from piwheels_builder.errors import FleetError
except ImportError:
    IMPORT_ERROR: str | None = traceback.format_exc()
else:
    IMPORT_ERROR = None

ARGUMENTS = {
    "directory": {"type": "path", "required": True},
    "server_dir": {"type": "path", "required": True},
    "names": {"type": "list", "elements": "str", "required": True},
    "group": {"type": "str"},
    "now": {"type": "float"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("piwheels_builder[controller]"), exception=IMPORT_ERROR)
    authority = Authority(Path(module.params["directory"]))
    server = Server(Path(module.params["server_dir"]), module.params["names"], module.params["group"])
    try:
        if module.params["now"] is not None:
            check_clock(module.params["now"])
        made = (due if module.check_mode else make)(authority, server)
    except FleetError as error:
        module.fail_json(msg=str(error))
    except (OSError, ValueError, LookupError) as error:
        module.fail_json(msg=f"the fleet's certificates cannot be made or read: {error}")
    certificate = authority.certificate_path.read_text() if authority.certificate_path.exists() else ""
    diff = {"before": "", "after": "".join(f"{name}\n" for name in made)}
    module.exit_json(changed=bool(made), made=made, certificate=certificate, diff=diff)


if __name__ == "__main__":
    main()
