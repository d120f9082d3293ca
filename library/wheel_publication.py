#!/usr/bin/python
"""Ansible module: publish collected wheels, and bring the index's pages up to date."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wheel_publication
short_description: Publish the wheels that builders made, keep logs, and bring the index's pages up to date
description:
  - Takes every wheel that waits to be published from the directories its builders' outboxes were collected into, verifies it
    against the database and its own content, serves it, and writes the project pages that are due.
  - A wheel that fails a check is refused and its build fails. A wheel that is missing is lost and built again.
  - A builder that delivered what no honest one does is quarantined, with a warning; what it made waits until a person has decided.
  - Logs of failed attempts are kept as they came. One that is missing or damaged holds nothing up.
  - Runs on the index host with the interpreter of the virtual environment that piwheels_builder is installed in. Safe to
    interrupt at any moment and to run again.
options:
  database:
    description: libpq connection string of the publisher's role, without a password.
    type: str
    required: true
  published_dir:
    description: Root of the published tree.
    type: path
    required: true
  incoming:
    description:
      - The directory that each builder's outbox was collected into, by the builder's name; in a fleet of one the outbox itself.
      - What is missing there counts as lost, but for O(recorded_before) and O(uncollected).
    type: dict
    default: {}
  recorded_before:
    description:
      - The database's time when the collecting began, as ISO 8601 with an offset. Missing wheels recorded later are left for
        the next run.
      - Leave it out where the directories are the outboxes themselves.
    type: str
  uncollected:
    description: Builders whose outbox could not be collected. What came of it is published; what is missing is not lost.
    type: list
    elements: str
    default: []
  private_projects:
    description: Projects whose pages never show upstream's files.
    type: list
    elements: str
    default: []
  upstream_wins:
    description:
      - Whether our wheel leaves the pages where upstream has one that serves the same targets. A filename that upstream has is
        upstream's either way.
    type: bool
    default: true
  armv6_twins:
    description:
      - Whether a C(linux_armv7l) wheel in which everything compiled is known to run on a Pi 1 and Zero is published a second time,
        as C(linux_armv6l).
    type: bool
    default: true
  site:
    description:
      - What the operator wants built, so that the site's pages say why the rest is not. Without it the site is left alone.
    type: dict
    suboptions:
      build_policy:
        description: C(missing) or C(all), as in fleet.yml.
        type: str
        required: true
      projects:
        description: A list of names, or C(all), as in fleet.yml.
        type: raw
        required: true
      releases:
        description: C(latest), C(all) or a number, as in fleet.yml.
        type: raw
        required: true
  rerender:
    description:
      - Write all pages anew, not only those that are due, as after files were lost. A change of O(private_projects),
        O(upstream_wins) or the fleet's targets does so by itself.
    type: bool
    default: false
attributes:
  check_mode:
    description: Tells what would be published or lost by what lies in the directories; looks into no wheel.
    support: full
  diff_mode:
    description: Shows what becomes of each wheel.
    support: full
"""

EXAMPLES = r"""
- name: Publish what the builders made
  wheel_publication:
    database: host=/run/piwheels dbname=piwheels user=piwheels_publisher
    published_dir: /srv/piwheels
    incoming:
      pi-01: /var/lib/piwheels-builder/incoming/pi-01
"""

RETURN = r"""
published:
  description: Filenames of the wheels that are served now.
  type: list
  elements: str
  returned: success
refused:
  description: Wheels that failed a check, each with wheel (its filename) and reason.
  type: list
  elements: dict
  returned: success
lost:
  description: Filenames of wheels that were missing; they are built again.
  type: list
  elements: str
  returned: success
logs_stored:
  description: How many logs are kept now that were not before.
  type: int
  returned: success
logs_lost:
  description: Logs that were missing or damaged, as builder/directory.
  type: list
  elements: str
  returned: success
settled:
  description: How many wheels and logs nobody waits for any more.
  type: int
  returned: success
quarantined:
  description: Why builders are believed nothing, by their names, of O(incoming).
  type: dict
  returned: success
pages_written:
  description: How many projects have a page that changed; in check mode always 0.
  type: int
  returned: success
"""

import traceback
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from packaging.utils import canonicalize_name

    from piwheels_builder.db.connect import connected
    from piwheels_builder.errors import BadInput, FleetError
    from piwheels_builder.index.contents import PageRules
    from piwheels_builder.index.publication import Report, foresee, publish
    from piwheels_builder.site.publishing import SiteInPublication, site_rules

except ImportError:
    IMPORT_ERROR: str | None = traceback.format_exc()
else:
    IMPORT_ERROR = None


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "database": {"type": "str", "required": True},
            "published_dir": {"type": "path", "required": True},
            "incoming": {"type": "dict", "default": {}},
            "recorded_before": {"type": "str"},
            "uncollected": {"type": "list", "elements": "str", "default": []},
            "private_projects": {"type": "list", "elements": "str", "default": []},
            "upstream_wins": {"type": "bool", "default": True},
            "armv6_twins": {"type": "bool", "default": True},
            "site": {
                "type": "dict",
                "options": {
                    "build_policy": {"type": "str", "required": True},
                    "projects": {"type": "raw", "required": True},
                    "releases": {"type": "raw", "required": True},
                },
            },
            "rerender": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    if IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("piwheels_builder"), exception=IMPORT_ERROR)
    try:
        report, fault = run(module.params, check_mode=module.check_mode)
    except FleetError as error:
        module.fail_json(msg=str(error))
    if fault:
        module.warn(
            f"the site was not written, and the index was ({fault}): every page of it is written anew with the next publications"
        )
    for builder, why in report.quarantined.items():
        module.warn(
            f"{builder} is quarantined ({why}): look at it, then `piwheels-builder resume {builder}` or `distrust {builder}`"
        )
    module.exit_json(
        changed=report.changed,
        published=report.published,
        refused=[asdict(refused) for refused in report.refused],
        lost=report.lost,
        logs_stored=report.logs_stored,
        logs_lost=report.logs_lost,
        settled=report.settled,
        quarantined=report.quarantined,
        pages_written=report.pages_written,
        diff={"before": "", "after": as_text(report)},
    )


def run(parameters: dict[str, Any], *, check_mode: bool) -> tuple[Report, str | None]:
    """The report, and what kept the site from being written."""
    incoming = {builder: Path(directory) for builder, directory in parameters["incoming"].items()}
    before = moment(parameters["recorded_before"])
    with connected(parameters["database"]) as connection:
        if check_mode:
            return foresee(connection, incoming, before, parameters["uncollected"]), None
        private = frozenset(map(canonicalize_name, parameters["private_projects"]))
        rules = PageRules(private, parameters["upstream_wins"])
        told = parameters["site"]
        site = SiteInPublication(connection, site_rules(told, private)) if told else None
        report = publish(
            connection,
            Path(parameters["published_dir"]),
            incoming,
            rules,
            recorded_before=before,
            uncollected=parameters["uncollected"],
            armv6_twins=parameters["armv6_twins"],
            rerender=parameters["rerender"],
            before_pages=site.before_pages if site else lambda _: None,
        )
        return report, site.fault if site else None


def moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = datetime.min  # noqa: DTZ901 - as good as any other without an offset
    if found.tzinfo is None:
        raise BadInput(f"recorded_before is {text!r}: write it with its offset from UTC, like 2026-11-22T10:00:00+00:00")
    return found


def as_text(report: Report) -> str:
    """One line for each wheel: what ``--diff`` shows."""
    lines = [f"published {wheel}" for wheel in report.published]
    lines += [f"refused {refused.wheel}: {refused.reason}" for refused in report.refused]
    lines += [f"lost {wheel}" for wheel in report.lost]
    lines += [f"lost the log of {log}" for log in report.logs_lost]
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()
