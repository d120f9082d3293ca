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
  requests_per_second:
    description: The most requests a second that are made of the upstream index; 0 is any number.
    type: float
    default: 50
  seconds:
    description:
      - With O(projects=all), end after so many seconds, between two projects; the next sync goes on. 0 is when all is read.
    type: float
    default: 0
  accept_deletions:
    description:
      - Believe upstream where more than 50 projects, and more than a hundredth of all, would lose all their files at once.
        Otherwise those are held back, and RV(held_back) names them.
    type: bool
    default: false
  own_sdists:
    description:
      - A directory of sdists on this host, whose projects are in O(private_projects). Those are wanted, and read from it alone.
    type: path
  private_projects:
    description: Projects that never mix with upstream's of the same name.
    type: list
    elements: str
    default: []
  index:
    description: URL of the fleet's own index, where builders find O(own_sdists).
    type: str
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
  description: Projects visited. With O(projects=all) those are the ones whose serial had changed.
  returned: always
  type: int
left:
  description: Projects that are known to have changed, and were not visited for want of time.
  returned: always
  type: int
held_back:
  description: Projects that would lose all their files, too many to be believed without O(accept_deletions).
  returned: always
  type: list
freshness:
  description:
    - How far the catalogue is behind upstream. C(followed_at) is when upstream had nothing that the catalogue has not,
      C(seconds) the time since, C(behind) the projects known to differ, C(text) all of it in words. Null before the first sync.
  returned: always
  type: dict
filled:
  description: Projects that the catalogue had nothing of, and were written in bulk; they are not in RV(changed_projects).
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
    from piwheels_builder.catalogue.freshness import Freshness, freshness
    from piwheels_builder.catalogue.own_sdists import OwnSdists
    from piwheels_builder.catalogue.policy import POLICIES, Policy
    from piwheels_builder.catalogue.sync import Ways, sync
    from piwheels_builder.catalogue.sync_report import SyncReport
    from piwheels_builder.catalogue.upstream import UpstreamIndex
    from piwheels_builder.db.connect import connected
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
    "requests_per_second": {"type": "float", "default": 50},
    "seconds": {"type": "float", "default": 0},
    "accept_deletions": {"type": "bool", "default": False},
    "own_sdists": {"type": "path"},
    "private_projects": {"type": "list", "elements": "str", "default": []},
    "index": {"type": "str"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("piwheels_builder"), exception=IMPORT_ERROR)
    try:
        report, fresh = synced(module.params, check=module.check_mode)
    except FleetError as error:
        module.fail_json(msg=str(error))
    result = told(report, fresh)
    if module._diff:
        result["diff"] = difference(report)
    try:
        report.raise_failures()
    except FleetError as error:
        # Where all of upstream is followed, the one project that changed may well be one that nobody can read.
        if len(report.failures) == report.visited and module.params["projects"] != "all":
            module.fail_json(msg=str(error), **result)
        # What was synced can be built meanwhile; the end of the run is told of the rest.
        module.warn(str(error))
    module.exit_json(**result)


def synced(params: dict[str, Any], *, check: bool) -> tuple[SyncReport, Freshness | None]:
    private = params["private_projects"] if params["own_sdists"] else []
    own = OwnSdists.read(params["own_sdists"], params["index"], private)
    policy = Policy.read(params["build_policy"], params["projects"], params["releases"], private)
    ways = Ways(check, params["accept_deletions"], params["seconds"] or None, own=own)
    with UpstreamIndex(params["upstream"], per_second=params["requests_per_second"] or None) as upstream:
        report = sync(params["database"], upstream, policy, ways=ways)
    with connected(params["database"]) as connection:
        return report, freshness(connection)


def told(report: SyncReport, fresh: Freshness | None) -> dict[str, Any]:
    return {
        "changed": bool(report),
        "projects": report.visited,
        "left": report.left,
        "held_back": list(report.held_back),
        "freshness": fresh and {**fresh.told(), "text": str(fresh)},
        "filled": report.filled.projects,
        "changed_projects": list(report.changed),
        "gone": list(report.gone),
        "releases": report.releases,
        "files": report.files,
        "builds_wanted": len(report.wanted) + report.filled.wanted + report.swept.queued,
        "builds_skipped": len(report.skipped),
        "failures": [{"project": project, "error": str(error)} for project, error in report.failures.items()],
    }


def difference(report: SyncReport) -> dict[str, str]:
    """Builds leaving the queue before, builds entering it after."""
    return {"before": "".join(f"{build}\n" for build in report.skipped), "after": "".join(f"{build}\n" for build in report.wanted)}


if __name__ == "__main__":
    main()
