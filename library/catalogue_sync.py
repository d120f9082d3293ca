#!/usr/bin/python
"""Ansible module: sync projects from the upstream index and queue what is wanted."""

from __future__ import annotations

DOCUMENTATION = r"""
module: catalogue_sync
short_description: Sync projects from the upstream index, and queue what is wanted of them
description:
  - Reads the project pages of the upstream simple index into the catalogue, and wants or skips builds accordingly.
  - Each project is a transaction of its own. When some fail, all others are synced, and then the module fails and names them.
  - A second sync of unchanged projects changes nothing.
options:
  database:
    description: Connection string (libpq) of the database as the dispatcher role, without a password.
    type: str
    required: true
  upstream:
    description: URL of the simple index. Without it, the index-url that pip is configured with on this host.
    type: str
  projects:
    description:
      - What is in the catalogue, a list of names or V(name==version); or V(all).
      - Besides these, projects that the operator forces and projects with builds in the queue are synced.
    type: raw
    required: true
  releases:
    description: How many of the newest releases of each project are wanted, V(latest) or V(all). A named version always is.
    type: str
    default: latest
  build_policy:
    description: V(missing) wants what upstream has no serving wheel for, V(all) everything that has an sdist.
    type: str
    choices: [missing, all]
    default: missing
attributes:
  check_mode:
    description: Reads upstream and does everything in transactions that are rolled back.
    support: full
  diff_mode:
    description: Lists the builds put into the queue and taken out of it.
    support: full
"""

EXAMPLES = r"""
- name: Sync two projects, one of them at a version of choice
  catalogue_sync:
    database: "{{ fleet_conninfo.dispatcher }}"
    projects:
      - spidev
      - docopt==0.6.2
    build_policy: all
"""

RETURN = r"""
projects:
  description: Projects visited.
  returned: always
  type: int
changed_projects:
  description: Projects of which upstream says something new.
  returned: always
  type: list
gone:
  description: Projects that upstream no longer has.
  returned: always
  type: list
releases:
  description: Releases that are new, spelled otherwise or ranked otherwise.
  returned: always
  type: int
files:
  description: Upstream files that are new, changed or removed.
  returned: always
  type: int
builds_wanted:
  description: Builds put into the queue.
  returned: always
  type: int
builds_skipped:
  description: Builds taken out of the queue.
  returned: always
  type: int
failures:
  description:
    - Projects that could not be synced, or of which a version is listed that cannot be built, each with the reason. The module
      fails only where that is all of them.
  returned: always
  type: list
  sample: [{project: demo, error: "the upstream index has no such project"}]
"""

import traceback
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from piwheels_builder.catalogue.policy import POLICIES, Policy
    from piwheels_builder.catalogue.sync import SyncReport, sync
    from piwheels_builder.catalogue.upstream import UpstreamIndex
    from piwheels_builder.errors import FleetError
except ImportError:
    IMPORT_ERROR: str | None = traceback.format_exc()
    POLICIES = ("missing", "all")
else:
    IMPORT_ERROR = None

ARGUMENTS: dict[str, dict[str, Any]] = {
    "database": {"type": "str", "required": True},
    "upstream": {"type": "str"},
    "projects": {"type": "raw", "required": True},
    "releases": {"type": "str", "default": "latest"},
    "build_policy": {"type": "str", "choices": list(POLICIES), "default": "missing"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("piwheels_builder"), exception=IMPORT_ERROR)
    try:
        report = synced(module.params, check=module.check_mode)
    except FleetError as error:
        module.fail_json(msg=str(error))
    result = told(report)
    if module._diff:
        result["diff"] = difference(report)
    try:
        report.raise_failures()
    except FleetError as error:
        if len(report.failures) == len(report.projects):
            module.fail_json(msg=str(error), **result)
        # What was synced can be built meanwhile; the end of the run is told of the rest.
        module.warn(str(error))
    module.exit_json(**result)


def synced(params: dict[str, Any], *, check: bool) -> SyncReport:
    policy = Policy.read(params["build_policy"], params["projects"], params["releases"])
    with UpstreamIndex(params["upstream"]) as upstream:
        return sync(params["database"], upstream, policy, check=check)


def told(report: SyncReport) -> dict[str, Any]:
    return {
        "changed": bool(report),
        "projects": len(report.projects),
        "changed_projects": list(report.changed),
        "gone": list(report.gone),
        "releases": report.releases,
        "files": report.files,
        "builds_wanted": len(report.wanted),
        "builds_skipped": len(report.skipped),
        "failures": [{"project": project, "error": str(error)} for project, error in report.failures.items()],
    }


def difference(report: SyncReport) -> dict[str, str]:
    """Builds leaving the queue before, builds entering it after."""
    return {"before": "".join(f"{build}\n" for build in report.skipped), "after": "".join(f"{build}\n" for build in report.wanted)}


if __name__ == "__main__":
    main()
