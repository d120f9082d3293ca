#!/usr/bin/python
"""Ansible module: have the fleet's authority certify the key of a database server on another host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: server_certificate
short_description: Have the fleet's authority certify the key of a database server on another host
description:
  - Runs on the index host. Signs a certificate that is good for being a server under these names and for nothing else, and lasts
    800 days. The index host's own is made by M(fleet_authority).
  - Of the signing request only the public key is believed.
  - The certificate signed before is returned while it has 30 days left, and key and names are the same.
options:
  directory:
    description: Where the authority keeps its key.
    type: path
    required: true
  name:
    description: The inventory's name of the server's host.
    type: str
    required: true
  names:
    description: Names and addresses that it is reached at.
    type: list
    elements: str
    required: true
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
- name: Certify the database server's key
  server_certificate:
    directory: /etc/piwheels-builder/authority
    name: "{{ inventory_hostname }}"
    names: [db.example, 192.0.2.9]
    csr: "{{ server_request }}"
  delegate_to: "{{ groups['index'] | first }}"
"""

RETURN = r"""
certificate:
  description: The certificate, as PEM; empty where a dry run would sign a new one.
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
    from piwheels_builder.signing import Subject, is_kept, pem, server, sign
except ImportError:
    IMPORT_ERROR: str | None = traceback.format_exc()
else:
    IMPORT_ERROR = None

ARGUMENTS = {
    "directory": {"type": "path", "required": True},
    "name": {"type": "str", "required": True},
    "names": {"type": "list", "elements": "str", "required": True},
    "csr": {"type": "str", "required": True},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("piwheels_builder[controller]"), exception=IMPORT_ERROR)
    authority = Authority(Path(module.params["directory"]))
    try:
        subject = server(module.params["name"], module.params["names"])
        result = certified(authority, subject, module.params["csr"], check=module.check_mode)
    except FleetError as error:
        module.fail_json(msg=str(error))
    except (OSError, ValueError, LookupError) as error:
        module.fail_json(msg=f"the fleet's authority cannot sign: {error}; is the index host provisioned?")
    module.exit_json(**result)


def certified(authority: Authority, subject: Subject, csr: str, *, check: bool) -> dict[str, Any]:
    own = authority.certificate_path.read_text()
    if check and not is_kept(authority, subject, csr):
        return {"changed": True, "certificate": "", "authority": own}
    certificate, new = sign(authority, subject, csr)
    return {"changed": new, "certificate": pem(certificate), "authority": own}


if __name__ == "__main__":
    main()
