#!/usr/bin/python
"""Ansible module: deliver a batch into a builder's spool."""

from __future__ import annotations

DOCUMENTATION = r"""
module: spool_batch
short_description: Deliver a batch into a builder's spool
description:
  - Writes the batch whole or not at all, and once, however often it is delivered.
  - Runs on the builder, by the interpreter of the environment that piwheels_builder is installed in.
options:
  spool_dir:
    description: The builder's spool.
    type: path
    required: true
  batch:
    description: A batch as M(version_batch) leased it.
    type: dict
    required: true
attributes:
  check_mode:
    description: Tells whether the batch would be news to the builder.
    support: full
  diff_mode:
    description: Shows the builds of the batch.
    support: full
"""

EXAMPLES = r"""
- name: Deliver the batch
  spool_batch:
    spool_dir: "{{ fleet_state_dir }}/builder/spool"
    batch: "{{ leased.batches[inventory_hostname] }}"
"""

RETURN = r"""
builds:
  description: How many builds the batch holds.
  returned: always
  type: int
"""

import traceback
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from piwheels_builder.builder.spool import is_delivered, write_batch
    from piwheels_builder.errors import FleetError
    from piwheels_builder.queue.batch import Batch
except ImportError:
    IMPORT_ERROR: str | None = traceback.format_exc()
else:
    IMPORT_ERROR = None

ARGUMENTS = {
    "spool_dir": {"type": "path", "required": True},
    "batch": {"type": "dict", "required": True},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("piwheels_builder"), exception=IMPORT_ERROR)
    spool_dir = Path(module.params["spool_dir"])
    try:
        batch = Batch.from_mapping(module.params["batch"])
        changed = not is_delivered(spool_dir, batch) if module.check_mode else write_batch(spool_dir, batch)
    except (KeyError, TypeError, ValueError) as error:
        module.fail_json(msg=f"this is no batch: {error!r}; take one from version_batch")
    except FleetError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"the batch cannot be written into {spool_dir}: {error}; run `ansible-playbook provision.yml`")
    told = "".join(f"{build.project} {build.version} for {build.target}\n" for build in batch.builds)
    module.exit_json(changed=changed, builds=len(batch.builds), diff={"before": "", "after": told if changed else ""})


if __name__ == "__main__":
    main()
