#!/usr/bin/python
"""Ansible module: write down which hosted Pis a fleet orders, has and cancels, and say what is to be done."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_hosted_pis
short_description: Write down which hosted Pis a fleet orders, has and cancels
description:
  - The fleet's memory of what costs money. Whoever orders or cancels a Pi has it written down here first, so that none is forgotten
    and none ordered twice, whatever is interrupted.
  - With O(state=looked), tells the database's time and who should be in the account, for what follows to be compared with the
    account as it was after that.
  - With O(state=planned), writes down who is missing up to O(count), and says who is to be ordered or waited for.
  - With O(state=settled), writes down what came of it.
  - With O(state=leaving), chooses who leaves so that O(keep) stay, writes it down, and says who is to be retired and cancelled.
  - With O(state=power_cycled), notes that O(names) are about to be power-cycled.
  - With O(state=watched), tells what each Pi is and does, and applies the operator's rule to those that are silent.
  - Runs on the index host, by the interpreter of the environment that piwheels_builder is installed in. It never asks the API.
options:
  database:
    description: libpq connection string as the owner role. Must hold no password.
    type: str
    required: true
  state:
    description: What to do.
    type: str
    choices: [looked, planned, settled, leaving, power_cycled, watched]
    required: true
  prefix:
    description: What the names of the fleet's Pis begin with; ends with a dash.
    type: str
  account:
    description: The fleet's Pis in the account, as M(hosted_pi_info) returns them.
    type: list
    elements: dict
  listed_at:
    description: The RV(time) that O(state=looked) told before the account was asked.
    type: str
  count:
    description: How many Pis the fleet should have.
    type: int
  specification:
    description: What to order, as M(hosted_pi) takes it.
    type: dict
  keep:
    description: How many Pis stay.
    type: int
  names:
    description: Who is power-cycled.
    type: list
    elements: str
  delivered:
    description: Pis that were ordered and run.
    type: list
    elements: str
    default: []
  failures:
    description: Why orders came to nothing so far, by name.
    type: dict
    default: {}
  cancelled:
    description: Pis that have left the account, or can never be in it under that name.
    type: list
    elements: str
    default: []
  silent_minutes:
    description: Power-cycle a builder that was not heard of for so long. 0 for never.
    type: int
    default: 0
  power_cycles:
    description: Quarantine one that was power-cycled so often, and is silent again within a day.
    type: int
    default: 2
  builders:
    description: Names of the builders of this inventory.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Tells what would be written; the transaction is rolled back.
    support: full
  diff_mode:
    description: Shows who is ordered, cancelled, power-cycled or quarantined.
    support: full
"""

EXAMPLES = r"""
- name: Write down who is missing up to twenty
  fleet_hosted_pis:
    database: "{{ fleet_database.owner }}"
    state: planned
    prefix: wheels-
    account: "{{ seen.pis }}"
    listed_at: "{{ looked.time }}"
    count: 20
    specification: {model: 4, memory: 4096}
"""

RETURN = r"""
time:
  description: The database's time.
  returned: O(state=looked)
  type: str
expected:
  description: Who was delivered and not cancelled, and so should be in the account.
  returned: O(state=looked)
  type: list
wanted:
  description: Who is to be ordered or waited for, each with its specification, and whether the account has it already.
  returned: O(state=planned)
  type: list
minutes:
  description: Since each Pi was written down as ordered, by name.
  returned: O(state=settled)
  type: dict
leaving:
  description: Who is to be cancelled, by name, and whether it has to be retired as a builder before.
  returned: O(state=leaving)
  type: dict
  sample: {wheels-07: true, wheels-08: false}
silent:
  description: Who is to be power-cycled now.
  returned: O(state=watched)
  type: list
quarantined:
  description: Who was quarantined just now.
  returned: O(state=watched)
  type: list
lines:
  description: A line about each Pi that builds, or costs nothing yet.
  returned: O(state=watched)
  type: list
useless:
  description: A line about each Pi that costs money and builds nothing, with the remedy.
  returned: O(state=watched)
  type: list
"""

import traceback
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from piwheels_builder.db.connect import Connection, connected
    from piwheels_builder.errors import FleetError
    from piwheels_builder.queue import hosted_pis
except ImportError:
    IMPORT_ERROR: str | None = traceback.format_exc()
else:
    IMPORT_ERROR = None

ARGUMENTS = {
    "database": {"type": "str", "required": True},
    "state": {
        "type": "str",
        "choices": ["looked", "planned", "settled", "leaving", "power_cycled", "watched"],
        "required": True,
    },
    "prefix": {"type": "str"},
    "account": {"type": "list", "elements": "dict"},
    "listed_at": {"type": "str"},
    "count": {"type": "int"},
    "specification": {"type": "dict"},
    "keep": {"type": "int"},
    "names": {"type": "list", "elements": "str"},
    "delivered": {"type": "list", "elements": "str", "default": []},
    "failures": {"type": "dict", "default": {}},
    "cancelled": {"type": "list", "elements": "str", "default": []},
    "silent_minutes": {"type": "int", "default": 0},
    "power_cycles": {"type": "int", "default": 2},
    "builders": {"type": "list", "elements": "str", "default": []},
}
COMPARED = ["prefix", "account", "listed_at"]
REQUIRED = [
    ("state", "looked", ["prefix"]),
    ("state", "planned", [*COMPARED, "count", "specification"]),
    ("state", "settled", ["prefix"]),
    ("state", "leaving", [*COMPARED, "keep"]),
    ("state", "power_cycled", ["names"]),
    ("state", "watched", COMPARED),
]


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True, required_if=REQUIRED)
    if IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("piwheels_builder"), exception=IMPORT_ERROR)
    try:
        with connected(module.params["database"]) as connection:
            result = STATES[module.params["state"]](connection, module.params)
            if module.check_mode:
                connection.rollback()
    except FleetError as error:
        module.fail_json(msg=str(error))
    done = result.pop("done", [])
    module.exit_json(changed=bool(done), diff={"before": "", "after": "".join(f"{line}\n" for line in done)}, **result)


def looked(connection: Connection, params: dict[str, Any]) -> dict[str, Any]:
    time, expected = hosted_pis.look(connection, params["prefix"])
    return {"time": time, "expected": expected}


def planned(connection: Connection, params: dict[str, Any]) -> dict[str, Any]:
    wanted = hosted_pis.plan(connection, fleet(params), params["count"], params["specification"], params["builders"])
    records = [{"name": pi.name, "specification": pi.specification, "seen": pi.seen} for pi in wanted]
    return {"wanted": records, "done": [f"order {pi.name}: {pi.specification}" for pi in wanted if not pi.seen]}


def settled(connection: Connection, params: dict[str, Any]) -> dict[str, Any]:
    delivered, failures, cancelled = params["delivered"], params["failures"], params["cancelled"]
    hosted_pis.settle(connection, delivered, failures)
    hosted_pis.note_cancelled(connection, cancelled)
    done = [*(f"{name} is delivered" for name in delivered), *(f"{name}: {why}" for name, why in failures.items())]
    minutes = hosted_pis.minutes_since_order(connection, params["prefix"])
    return {"minutes": minutes, "done": [*done, *(f"{name} is cancelled" for name in cancelled)]}


def leaving(connection: Connection, params: dict[str, Any]) -> dict[str, Any]:
    chosen = hosted_pis.choose_leaving(connection, fleet(params), params["keep"])
    return {"leaving": chosen, "done": [f"cancel {name}" for name in chosen]}


def power_cycled(connection: Connection, params: dict[str, Any]) -> dict[str, Any]:
    hosted_pis.count_power_cycles(connection, params["names"])
    return {"done": [f"power-cycle {name}" for name in params["names"]]}


def watched(connection: Connection, params: dict[str, Any]) -> dict[str, Any]:
    of_fleet, here = fleet(params), set(params["builders"])
    minded = hosted_pis.mind_silent(connection, of_fleet, params["silent_minutes"], params["power_cycles"])
    listed = {pi.name: pi for pi in of_fleet.account}
    told = [
        hosted_pis.describe(pi, listed.get(pi.name), in_inventory=pi.name in here) for pi in hosted_pis.told(connection, of_fleet)
    ]
    return {
        "silent": [name for name, is_quarantined in minded.items() if not is_quarantined],
        "quarantined": [name for name, is_quarantined in minded.items() if is_quarantined],
        "lines": [line for line, is_useless in told if not is_useless],
        "useless": [line for line, is_useless in told if is_useless],
        "done": [f"{'quarantine' if is_quarantined else 'power-cycle'} {name}" for name, is_quarantined in minded.items()],
    }


def fleet(params: dict[str, Any]) -> hosted_pis.Fleet:
    account = [hosted_pis.Listed.parse(told) for told in params["account"]]
    return hosted_pis.Fleet(params["prefix"], account, params["listed_at"])


STATES = {
    "looked": looked,
    "planned": planned,
    "settled": settled,
    "leaving": leaving,
    "power_cycled": power_cycled,
    "watched": watched,
}


if __name__ == "__main__":
    main()
