#!/usr/bin/python
"""Ansible module: lease batches of builds to builders, or give them back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: version_batch
short_description: Lease batches of builds to builders, or give them back
description:
  - With O(state=leased), gives every hungry builder a batch, in one call and one transaction; expired leases are taken back
    first. Batches are sized in estimated seconds of work and shrink as the queue empties. A builder, or the whole fleet, whose
    rate of failure has left its history is paused before anything is leased, with a warning.
  - With O(state=released), gives leases back whose batches could not be delivered.
  - With O(state=held), tells what is leased to O(builders), so that what a run that died did not deliver can be delivered.
  - With O(state=counted), only tells what there is to do.
  - With O(state=foreseen), tells what a run has before it, in words, as C(piwheels-builder plan) does.
  - Runs on the index host, by the interpreter of the environment that piwheels_builder is installed in.
options:
  database:
    description: libpq connection string as the dispatcher role. Must hold no password.
    type: str
    required: true
  state:
    description: What to do.
    type: str
    choices: [leased, released, held, counted, foreseen]
    default: leased
  builders:
    description: Look at these builders only. Without it, at every builder of the fleet.
    type: list
    elements: str
  spool_seconds:
    description:
      - Work each slot of a builder should have waiting, in seconds; less as the queue empties.
      - A builder is hungry below half of that.
    type: float
    default: 7200
  lease_seconds:
    description: How long a lease lasts after its builder was last heard of.
    type: int
    default: 14400
  lease_ids:
    description: The leases to give back. Required with O(state=released).
    type: list
    elements: str
  since:
    description: A RV(time) that was answered before; attempts recorded since then are counted for O(builders).
    type: str
  projects:
    description: What is in the catalogue, a list of names or V(name==version); or V(all). Of these, RV(plan) says what is saved.
    type: raw
    default: all
  releases:
    description: How many of the newest releases of each project are wanted, V(latest) or V(all).
    type: str
    default: latest
  build_policy:
    description: V(missing) wants what upstream has no serving wheel for, V(all) everything that has an sdist.
    type: str
    choices: [missing, all]
    default: missing
  reason:
    description: Why they are given back; it stands with each build afterwards.
    type: str
    default: the batch could not be delivered
attributes:
  check_mode:
    description: Tells what would be leased; the transaction is rolled back.
    support: full
  diff_mode:
    description: Shows the builds that change hands.
    support: full
"""

EXAMPLES = r"""
- name: Lease a batch for every hungry builder
  version_batch:
    database: "{{ fleet_conninfo.dispatcher }}"
  delegate_to: "{{ groups['index'][0] }}"
  run_once: true
  register: leased

- name: Give back what could not be delivered
  version_batch:
    database: "{{ fleet_conninfo.dispatcher }}"
    state: released
    lease_ids: ["{{ batch.lease_id }}"]
"""

RETURN = r"""
batches:
  description: The batch of each builder that got one, by the builder's name; what spool_batch delivers.
  returned: O(state=leased)
  type: dict
held:
  description: The batches leased to the builders, of which some may have arrived and begun. Delivering one again does no harm.
  returned: O(state=held)
  type: list
holding:
  description: Builders that builds are leased to.
  returned: always
  type: list
could_have:
  description: Of O(builders), those that could be given something that nobody has.
  returned: always
  type: list
waiting:
  description: Builders with wheels or logs waiting to be collected.
  returned: always
  type: list
time:
  description: The database's time, as ISO 8601.
  returned: always
  type: str
tally:
  description: How many attempts of O(builders) built and failed since O(since), by name; infrastructure faults are neither.
  returned: where O(since) is given
  type: dict
  sample: {pi-01: {built: 3, failed: 1}}
plan:
  description: What is queued, when it will be over, what it takes, and what upstream's wheels save; a line each.
  returned: O(state=foreseen)
  type: list
reclaimed:
  description: Builds whose lease expired and was taken back.
  returned: O(state=leased)
  type: int
released:
  description: Builds given back.
  returned: O(state=released)
  type: int
totals:
  description: Unfinished builds by what holds them up, after this call.
  returned: always
  type: dict
  sample: {leasable: 12, leased: 30, waiting: 4, held: 0, delayed: 0, too_large: 0, unpublished: 2}
paused:
  description: Why builders are paused or quarantined, by their names; of O(builders) where that is given.
  returned: always
  type: dict
stopped:
  description: Why nobody is given the work that is left; nothing where somebody is, or no work is left, or nobody paused.
  returned: always
  type: str
"""

import json
import traceback
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from piwheels_builder.catalogue.policy import Policy
    from piwheels_builder.db.connect import Connection, connected
    from piwheels_builder.errors import BadInput, FleetError
    from piwheels_builder.queue import breaker, leasing
    from piwheels_builder.queue.batch import Batch
    from piwheels_builder.queue.forecast import forecast, told
except ImportError:
    IMPORT_ERROR: str | None = traceback.format_exc()
else:
    IMPORT_ERROR = None

ARGUMENTS = {
    "database": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["leased", "released", "held", "counted", "foreseen"], "default": "leased"},
    "builders": {"type": "list", "elements": "str"},
    "spool_seconds": {"type": "float", "default": 7200},
    "lease_seconds": {"type": "int", "default": 14400},
    "lease_ids": {"type": "list", "elements": "str"},
    "since": {"type": "str"},
    "projects": {"type": "raw", "default": "all"},
    "releases": {"type": "str", "default": "latest"},
    "build_policy": {"type": "str", "choices": ["missing", "all"], "default": "missing"},
    "reason": {"type": "str", "default": "the batch could not be delivered"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
        required_if=[("state", "released", ["lease_ids"]), ("state", "held", ["builders"])],
    )
    if IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("piwheels_builder"), exception=IMPORT_ERROR)
    try:
        with connected(module.params["database"]) as connection:
            result = act(connection, module.params)
            if module.check_mode:
                connection.rollback()
    except FleetError as error:
        module.fail_json(msg=str(error))
    for warning in result.pop("warnings"):
        module.warn(warning)
    if not module._diff:
        result.pop("diff")
    module.exit_json(**result)


def act(connection: Connection, params: dict[str, Any]) -> dict[str, Any]:
    """One of the states, inside the caller's transaction."""
    result: dict[str, Any] = {"changed": False, "warnings": [], "diff": {"before": "", "after": ""}}
    if params["state"] == "leased":
        result.update(lease(connection, params))
    elif params["state"] == "released":
        released = leasing.release_leases(connection, map(uuid_of, params["lease_ids"]), params["reason"])
        result.update(changed=released > 0, released=released)
    elif params["state"] == "held":
        result["held"] = [json.loads(batch.to_json()) for batch in leasing.held_batches(connection, params["builders"])]
    elif params["state"] == "foreseen":
        policy = Policy.read(params["build_policy"], params["projects"], params["releases"])
        result["plan"] = list(told(forecast(connection, policy), datetime.now(UTC)))
    loads = leasing.builder_loads(connection, params["builders"])
    result["paused"] = {load.name: load.standing_reason for load in loads if load.standing in breaker.NOT_SERVED}
    result["holding"] = [load.name for load in loads if load.spool_builds]
    result["waiting"] = [load.name for load in loads if load.is_awaited]
    result["time"] = leasing.clock(connection)
    if params["since"]:
        result["tally"] = leasing.tally(connection, [load.name for load in loads], params["since"])
    totals = leasing.queue_totals(connection)
    result["totals"] = asdict(totals)
    # After the totals: what was let go between the two is in both, and not in neither.
    result["could_have"] = leasing.could_have(connection, [load.name for load in loads]) if params["builders"] else []
    result["stopped"] = _why_stopped(connection) if totals.to_hand_out else None
    return result


def _why_stopped(connection: Connection) -> str | None:
    return breaker.why_stopped(breaker.fleet_pause(connection), breaker.members(connection))


def lease(connection: Connection, params: dict[str, Any]) -> dict[str, Any]:
    term = timedelta(seconds=params["lease_seconds"])
    reclaimed, woken = leasing.tend(connection, term)
    trips = breaker.trip_breaker(connection)
    loads = leasing.builder_loads(connection, params["builders"])
    # Of the whole fleet: a batch for one builder is its share of what is left.
    fleet = leasing.served_fleet(connection)
    batches = leasing.lease_batches(connection, loads, params["spool_seconds"], term, fleet=fleet)
    return {
        "changed": bool(batches or reclaimed or woken or trips),
        "warnings": [f"{trip}; `piwheels-builder failures` shows what fails" for trip in trips],
        "reclaimed": reclaimed,
        "batches": {batch.builder: json.loads(batch.to_json()) for batch in batches},
        "diff": {"before": "", "after": "".join(map(listing, batches))},
    }


def listing(batch: Batch) -> str:
    return "".join(f"{batch.builder}: {build.project} {build.version} for {build.target}\n" for build in batch.builds)


def uuid_of(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise BadInput(f"{text!r} in lease_ids is not a lease id: take it from the batch's lease_id") from None


if __name__ == "__main__":
    main()
