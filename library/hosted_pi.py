#!/usr/bin/python
"""Ansible module: order, reboot, power-cycle and cancel Mythic Beasts' hosted Pis."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hosted_pi
short_description: Order, reboot, power-cycle and cancel a hosted Raspberry Pi of Mythic Beasts
description:
  - Makes one Pi of the account what is asked for, by its name. A Pi costs money from its order to its cancellation, by the second.
  - Whoever is interrupted runs it again, which finds what was ordered and goes on waiting for it.
  - Runs wherever the API is reached from, usually on the controller (C(connection=local)).
options:
  name:
    description: 3 to 20 lowercase letters, digits and C(-). Its host name is V(NAME.hostedpi.com), so no account may have it.
    type: str
    required: true
  state:
    description:
      - V(present) orders the Pi where there is none, and sets its keys and power.
      - V(absent) cancels it, for which the API must have provisioned it first; that is waited for. What is on its disk is lost.
      - V(rebooted) reboots it each time it is asked for.
      - V(power_cycled) switches it off and on, each time it is asked for, also while it hangs in its first boot.
    type: str
    choices: [present, absent, rebooted, power_cycled]
    default: present
  model:
    description: V(3) or V(4), or what else there is. Without it an order gets the lowest that matches, and any model is right.
    type: int
  memory:
    description: MB. Without it an order gets the least there is of that model, and any memory is right.
    type: int
  cpu_speed:
    description: MHz. Without it an order gets the lowest, and any speed is right.
    type: int
  disk:
    description: GB, a multiple of 10. Without it an order gets 10, and any disk is right.
    type: int
  os_image:
    description: Operating system of an order, such as V(rpi-bookworm-arm64). What a Pi was ordered with the API does not tell.
    type: str
  other_models:
    description: What to order instead where that is out of stock, tried in this order. A Pi that is one of these is right, too.
    type: list
    elements: dict
    default: []
    suboptions:
      model:
        description: As above.
        type: int
        required: true
      memory:
        description: As above.
        type: int
      cpu_speed:
        description: As above.
        type: int
      os_image:
        description: Without it, that of above.
        type: str
  wait_for_stock:
    description: Where everything is out of stock, ask again for O(wait_seconds) instead of failing.
    type: bool
    default: false
  ssh_keys:
    description: Public keys that root is let in by, all of them; in which order does not matter. Without it they are left alone.
    type: list
    elements: str
    no_log: false
  power:
    description: Whether it is on. Without it that is left alone.
    type: bool
  wait:
    description: Wait until the Pi is provisioned and has booted, or is gone.
    type: bool
    default: true
  wait_seconds:
    description: How long to wait in all. A request that is under way by then is finished, which takes a minute and a half at most.
    type: float
    default: 900
  poll_seconds:
    description: How long to wait between two looks at most; they begin closer to each other.
    type: float
    default: 10
  timeout:
    description: Seconds for each request.
    type: float
    default: 30
  key_id:
    description: Of the API key. Without it, C(HOSTEDPI_ID) of the environment.
    type: str
  secret:
    description: Of the API key. Without it, C(HOSTEDPI_SECRET) of the environment.
    type: str
  auth_url:
    description: Where to log in. Without it, C(HOSTEDPI_AUTH_URL) of the environment, or Mythic Beasts' own.
    type: str
  api_url:
    description: Where the API is. Without it, C(HOSTEDPI_API_URL) of the environment, or Mythic Beasts' own.
    type: str
attributes:
  check_mode:
    description: Only reads, and refuses what the API would refuse; does not wait.
    support: full
  diff_mode:
    description: Model, memory, speed, disk, power and keys.
    support: full
"""

EXAMPLES = r"""
- name: Order a Pi, and wait until it can be reached
  hosted_pi:
    name: wheels-01
    model: 4
    memory: 8192
    disk: 20
    os_image: rpi-bookworm-arm64
    other_models:
      - model: 4
        memory: 4096
      - model: 3
    ssh_keys: "{{ lookup('file', '~/.ssh/id_ed25519.pub') }}"
  delegate_to: localhost
  register: ordered

- name: Power-cycle one that is silent
  hosted_pi:
    name: wheels-02
    state: power_cycled
  delegate_to: localhost

- name: Cancel it, so that it costs nothing any more
  hosted_pi:
    name: wheels-01
    state: absent
  delegate_to: localhost
"""

RETURN = r"""
pi:
  description:
    - The Pi as the API tells it; empty where there is none, or would be none.
    - RV(pi.host) has an IPv6 address only; from IPv4 it is reached by RV(pi.ipv4_host) on RV(pi.ssh_port).
  returned: always
  type: dict
  sample:
    name: wheels-01
    status: live
    host: wheels-01.hostedpi.com
    ipv4_host: ssh.wheels-01.hostedpi.com
    ip: 2a00:1098:8:1::1
    ip_routed: 2a00:1098:8:100::/56
    ssh_port: 5123
    model: 4
    model_full: 4B
    memory: 8192
    cpu_speed: 2000
    nic_speed: 1000
    disk: 20
    location: MER
    power: true
    is_booting: false
    boot_progress: null
    initialised_keys: true
ordered:
  description: Whether this run ordered it, or may have since the answer to its order was lost. Then it costs money.
  returned: always
  type: bool
waited:
  description: Seconds from the first request to the end.
  returned: always
  type: float
reason:
  description:
    - Why it failed. After V(timed_out), and after V(unreachable) with RV(ordered), the Pi exists; run again to go on.
    - After V(provisioning_failed) cancel it and order it anew.
  returned: failure
  type: str
  sample: out_of_stock
"""

import re
from typing import Any

from ansible.module_utils.basic import AnsibleModule, env_fallback
from ansible.module_utils.hosted_pi import HostedPi, Waiting, Wanted, difference, shown
from ansible.module_utils.mythic_beasts import API_URL, AUTH_URL, NAME, Account, ApiError, Client, Specification, normal

_KEY = re.compile(r"[ -~]{1,16384}")


def _from_environment(name: str) -> dict[str, Any]:
    return {"type": "str", "fallback": (env_fallback, [name])}


ARGUMENTS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent", "rebooted", "power_cycled"], "default": "present"},
    **{key: {"type": "int"} for key in ("model", "memory", "cpu_speed", "disk")},
    "os_image": {"type": "str"},
    "other_models": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "model": {"type": "int", "required": True},
            "memory": {"type": "int"},
            "cpu_speed": {"type": "int"},
            "os_image": {"type": "str"},
        },
    },
    "wait_for_stock": {"type": "bool", "default": False},
    "ssh_keys": {"type": "list", "elements": "str", "no_log": False},
    "power": {"type": "bool"},
    "wait": {"type": "bool", "default": True},
    "wait_seconds": {"type": "float", "default": 900},
    "poll_seconds": {"type": "float", "default": 10},
    "timeout": {"type": "float", "default": 30},
    "key_id": _from_environment("HOSTEDPI_ID"),
    "secret": {**_from_environment("HOSTEDPI_SECRET"), "no_log": True},
    "auth_url": _from_environment("HOSTEDPI_AUTH_URL"),
    "api_url": _from_environment("HOSTEDPI_API_URL"),
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    wrong = refusal(module.params)
    if wrong:
        module.fail_json(msg=wrong, reason="refused", ordered=False, waited=0.0, pi={})
    waiting = Waiting(module.params["wait_seconds"] if module.params["wait"] else 0, module.params["poll_seconds"])
    try:
        pi = hosted_pi(module.params, waiting, check=module.check_mode)
    except ApiError as error:
        module.fail_json(msg=str(error), reason=error.reason, ordered=False, waited=0.0, pi={})
    try:
        getattr(pi, module.params["state"])()
    except ApiError as error:
        module.fail_json(msg=str(error), reason=error.reason, **told(pi, waiting))
    result = told(pi, waiting)
    if module._diff:
        result["diff"] = difference(pi.outcome, module.params["state"] == "absent")
    module.exit_json(**result)


def refusal(asked: dict[str, Any]) -> str | None:
    """What no API needs to be asked for."""
    if not NAME.fullmatch(asked["name"]):
        return f"{asked['name']!r} is no name of a Pi: 3 to 20 lowercase letters, digits and '-', which does not stand at an end"
    if asked["disk"] is not None and (asked["disk"] < 10 or asked["disk"] % 10):
        return f"a disk of {asked['disk']} GB cannot be had: ask for a multiple of 10"
    if not all(_KEY.fullmatch(key.strip()) and len(key.split()) > 1 for key in asked["ssh_keys"] or []):
        return "one of ssh_keys is none: each is the one line of a public key's file, such as ssh-ed25519 AAAA... you@there"
    if asked["poll_seconds"] <= 0 or asked["timeout"] <= 0:
        return "poll_seconds and timeout must be greater than 0"
    return None


def hosted_pi(asked: dict[str, Any], waiting: Waiting, *, check: bool) -> HostedPi:
    """Raises ApiError where there is no API key."""
    key = (asked["key_id"] or "", asked["secret"] or "")
    account = Account(*key, auth_url=asked["auth_url"] or AUTH_URL, api_url=asked["api_url"] or API_URL)
    patience = min(60.0, asked["wait_seconds"])
    client = Client(account, timeout=asked["timeout"], interval=asked["poll_seconds"], patience=patience)
    return HostedPi(client, wanted(asked), waiting, wait=asked["wait"], check=check)


def wanted(asked: dict[str, Any]) -> Wanted:
    choices = tuple(
        Specification(of["model"], of["memory"], of["cpu_speed"], asked["disk"], of["os_image"] or asked["os_image"])
        for of in (asked, *asked["other_models"])
    )
    keys = asked["ssh_keys"]
    return Wanted(
        asked["name"],
        choices,
        keys=None if keys is None else tuple(dict.fromkeys(normal(key) for key in keys)),
        power=asked["power"],
        wait_for_stock=asked["wait_for_stock"],
    )


def told(pi: HostedPi, waiting: Waiting) -> dict[str, Any]:
    outcome = pi.outcome
    return {"changed": outcome.changed, "ordered": outcome.ordered, "pi": shown(outcome.after), "waited": round(waiting.waited, 2)}


if __name__ == "__main__":
    main()
