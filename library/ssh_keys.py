#!/usr/bin/python
"""Ansible module: have ssh keys for users of a host, and tell their public parts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ssh_keys
short_description: Have ssh keys for users of a host, and tell their public parts
description:
  - Makes an Ed25519 key without a passphrase where there is none. A key never leaves its host; its public part is returned.
  - Needs nothing but Python and ssh-keygen on the host.
options:
  keys:
    description: The keys.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What the public part is returned as, and the key's comment.
        type: str
        required: true
      path:
        description: Where the private part is. Its directory must be there.
        type: path
        required: true
      owner:
        description: The user who alone may read it.
        type: str
        required: true
attributes:
  check_mode:
    description: Tells what would be made.
    support: full
  diff_mode:
    description: Names what is made.
    support: full
"""

EXAMPLES = r"""
- name: Have the publisher's key
  ssh_keys:
    keys:
      - {name: publisher, path: /etc/piwheels-builder/ssh/publisher, owner: piwheels-publisher}
"""

RETURN = r"""
public_keys:
  description: The public part of each key, by name, as authorized_keys has it; empty where a dry run made none.
  returned: always
  type: dict
"""

import os
import pwd
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

ARGUMENTS = {
    "keys": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "no_log": False,
        "options": {
            "name": {"type": "str", "required": True},
            "path": {"type": "path", "required": True},
            "owner": {"type": "str", "required": True},
        },
    },
}


def public_key(path: Path) -> str:
    """Read from the private part, since the other file may be missing or another's."""
    return run("-y", "-f", str(path)).strip()


def make(key: dict[str, Any]) -> None:
    """Made under another name, so that an interrupted run leaves no key that its owner cannot read."""
    path, owner = Path(key["path"]), pwd.getpwnam(key["owner"])
    fresh = path.with_name(f".{path.name}")
    fresh.unlink(missing_ok=True)
    run("-q", "-t", "ed25519", "-N", "", "-C", f"piwheels-{key['name']}", "-f", str(fresh))
    fresh.with_name(f"{fresh.name}.pub").unlink()
    fresh.chmod(0o600)
    os.chown(fresh, owner.pw_uid, owner.pw_gid)
    fresh.replace(path)


def run(*arguments: str) -> str:
    done = subprocess.run(["ssh-keygen", *arguments], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    return str(done.stdout)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    missing = [key for key in module.params["keys"] if not Path(key["path"]).exists()]
    try:
        for key in missing if not module.check_mode else []:
            make(key)
        present = [key for key in module.params["keys"] if Path(key["path"]).exists()]
        public = {key["name"]: public_key(Path(key["path"])) for key in present}
    except subprocess.CalledProcessError as error:
        module.fail_json(msg=f"ssh-keygen failed: {error.stderr.strip()}; remove the file that it names and provision again")
    except (OSError, KeyError) as error:
        module.fail_json(msg=f"a key cannot be made: {error}")
    made = "".join(f"{key['path']}\n" for key in missing)
    module.exit_json(changed=bool(missing), public_keys=public, diff={"before": "", "after": made})


if __name__ == "__main__":
    main()
