#!/usr/bin/python
"""Ansible module: which hosted Pis of an account are the fleet's."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hosted_pi_info
short_description: Tell which hosted Pis of a Mythic Beasts account are the fleet's
description:
  - Asks the API, and changes nothing. Pis whose names begin otherwise are only counted.
  - Runs on the controller, which has the API key.
options:
  prefix:
    description: What the names of the fleet's Pis begin with.
    type: str
    required: true
  expected:
    description: Names that are asked for even where the account's list lacks them.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds for a whole request.
    type: float
    default: 30
  key_id:
    description: The API key's id. Without it, E(HOSTEDPI_ID) of the environment.
    type: str
  secret:
    description: The API key's secret. Without it, E(HOSTEDPI_SECRET) of the environment.
    type: str
  auth_url:
    description: Where a key is changed for a token. Without it, E(HOSTEDPI_AUTH_URL) of the environment, else Mythic Beasts' own.
    type: str
  api_url:
    description: Where the API is. Without it, E(HOSTEDPI_API_URL) of the environment, else Mythic Beasts' own.
    type: str
attributes:
  check_mode:
    description: Changes nothing anyway.
    support: full
"""

EXAMPLES = r"""
- name: See which Pis the fleet has
  hosted_pi_info:
    prefix: wheels-
  delegate_to: localhost
  register: seen
"""

RETURN = r"""
pis:
  description: The fleet's Pis. C(live) is one that was provisioned once, C(running) one that is on and has booted.
  returned: success
  type: list
  sample: [{name: wheels-01, live: true, running: true, what: "model 4, 4096 MB, 1500 MHz, 20 GB disk"}]
others:
  description: How many Pis the account has besides.
  returned: success
  type: int
"""

from ansible.module_utils.basic import AnsibleModule, env_fallback
from ansible.module_utils.hosted_pis import fleets_pis
from ansible.module_utils.mythic_beasts import API_URL, AUTH_URL, Account, ApiError, Client

ARGUMENTS = {
    "prefix": {"type": "str", "required": True},
    "expected": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "float", "default": 30.0},
    "key_id": {"type": "str", "fallback": (env_fallback, ["HOSTEDPI_ID"])},
    "secret": {"type": "str", "no_log": True, "fallback": (env_fallback, ["HOSTEDPI_SECRET"])},
    "auth_url": {"type": "str", "fallback": (env_fallback, ["HOSTEDPI_AUTH_URL"])},
    "api_url": {"type": "str", "fallback": (env_fallback, ["HOSTEDPI_API_URL"])},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    told = module.params
    try:
        account = Account(told["key_id"] or "", told["secret"] or "", told["auth_url"] or AUTH_URL, told["api_url"] or API_URL)
        pis, others = fleets_pis(Client(account, timeout=told["timeout"]), told["prefix"], told["expected"])
    except ApiError as error:
        module.fail_json(msg=str(error), reason=error.reason)
    records = [{"name": pi.name, "live": pi.status == "live", "running": pi.ready, "what": str(pi)} for pi in pis]
    module.exit_json(changed=False, pis=records, others=others)


if __name__ == "__main__":
    main()
