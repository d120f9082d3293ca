#!/usr/bin/python
"""Ansible module: have the fleet's authority certify the key of who logs in to the database."""

from __future__ import annotations

DOCUMENTATION = r"""
module: client_certificate
short_description: Have the fleet's authority certify the key of who logs in to the database
description:
  - Runs on the index host. Signs a certificate that says C(builder_NAME), or the role that O(login) says, is good for logging in to
    the database and for nothing else, and lasts 400 days.
  - Of the signing request only the public key is believed.
  - The certificate signed before is returned while it has 60 days left and the key is the same.
options:
  directory:
    description: Where the authority keeps its key.
    type: path
    required: true
  name:
    description: The inventory's name of the builder, or, with O(login), of the host that logs in.
    type: str
    required: true
  login:
    description: The role that a host which is no builder logs in as.
    type: str
    choices: [piwheels_owner, piwheels_dispatcher, piwheels_publisher, piwheels_reader, piwheels_replica]
  csr:
    description: Its signing request, as PEM.
    type: str
    required: true
attributes:
  check_mode:
    description: Tells whether the certificate signed before would be returned.
    support: full
  diff_mode:
    description: Nothing to show beyond changed.
    support: none
"""

EXAMPLES = r"""
- name: Certify the builder's key
  client_certificate:
    directory: /etc/piwheels-builder/authority
    name: pi1
    csr: "{{ builder_request }}"
  delegate_to: "{{ groups['index'] | first }}"

- name: Certify the key by which the index host logs in as the owner, where the database is on a host of its own
  client_certificate:
    directory: /etc/piwheels-builder/authority
    name: "{{ inventory_hostname }}"
    login: piwheels_owner
    csr: "{{ owner_request }}"
"""

RETURN = r"""
certificate:
  description: The certificate, as PEM; empty where a dry run would sign a new one.
  returned: always
  type: str
serial:
  description: Its serial number, in decimal digits. A string, since it has more of them than a JSON reader's number may.
  returned: always
  type: str
authority:
  description: The authority's own certificate, as PEM.
  returned: always
  type: str
"""

import traceback
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from piwheels_builder.authority import Authority
    from piwheels_builder.errors import FleetError
    from piwheels_builder.signing import Subject, builder, is_kept, login, pem, sign
except ImportError:
    IMPORT_ERROR: str | None = traceback.format_exc()
else:
    IMPORT_ERROR = None

ARGUMENTS = {
    "directory": {"type": "path", "required": True},
    "name": {"type": "str", "required": True},
    "login": {
        "type": "str",
        "choices": ["piwheels_owner", "piwheels_dispatcher", "piwheels_publisher", "piwheels_reader", "piwheels_replica"],
    },
    "csr": {"type": "str", "required": True},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("piwheels_builder[controller]"), exception=IMPORT_ERROR)
    authority, name, role = Authority(Path(module.params["directory"])), module.params["name"], module.params["login"]
    try:
        subject = login(role, name) if role else builder(name)
        result = certified(authority, subject, module.params["csr"], check=module.check_mode)
    except FleetError as error:
        module.fail_json(msg=str(error))
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"the fleet's authority cannot sign: {error}; is the index host provisioned?")
    module.exit_json(**result)


def certified(authority: Authority, subject: Subject, csr: str, *, check: bool) -> dict[str, Any]:
    own = authority.certificate_path.read_text()
    if check and not is_kept(authority, subject, csr):
        return {"changed": True, "certificate": "", "serial": "", "authority": own}
    certificate, new = sign(authority, subject, csr)
    return {"changed": new, "certificate": pem(certificate), "serial": str(certificate.serial_number), "authority": own}


if __name__ == "__main__":
    main()
