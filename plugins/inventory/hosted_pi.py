"""Ansible inventory: the hosted Pis of a Mythic Beasts account that are the fleet's, as builders."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable

# The modules of this checkout are known to Ansible's modules, and not to its plugins.
_OURS = str(Path(__file__).resolve().parents[1] / "module_utils")
if _OURS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_OURS)

from ansible.module_utils.hosted_pis import fleets_pis  # noqa: E402
from ansible.module_utils.mythic_beasts import API_URL, AUTH_URL, Account, ApiError, Client, Server  # noqa: E402

DOCUMENTATION = r"""
name: hosted_pi
short_description: Hosted Pis of a Mythic Beasts account, as builders
description:
  - Every Pi of the account whose name begins with O(prefix) and that was delivered is a host of the group C(builders), with its
    V(model), V(memory) in MB and V(cpu_speed) in MHz. Pis of other names are never asked about, and never hosts.
  - The file's name has to end in C(hosted_pi.yml).
extends_documentation_fragment:
  - constructed
  - inventory_cache
options:
  plugin:
    description: This plugin's name.
    required: true
    choices: [hosted_pi]
  prefix:
    description:
      - What the names of the fleet's Pis begin with, a dash at the end. Playbooks order, cancel and list Pis of these names; they
        find it as the variable C(hosted_pi_prefix).
    type: str
    required: true
  address:
    description:
      - How Pis are reached. V(name), their name in the DNS, and V(ipv6), their address, need IPv6. V(ipv4) is the gateway of Mythic
        Beasts, at a port of each Pi's own.
    type: str
    choices: [name, ipv6, ipv4]
    default: name
  timeout:
    description: Seconds for a whole request.
    type: float
    default: 30
  key_id:
    description: The API key's id.
    type: str
    env:
      - name: HOSTEDPI_ID
  secret:
    description: The API key's secret. Keep it in the environment, or in a vault.
    type: str
    env:
      - name: HOSTEDPI_SECRET
  auth_url:
    description: Where a key is changed for a token. Without it, Mythic Beasts' own.
    type: str
    env:
      - name: HOSTEDPI_AUTH_URL
  api_url:
    description: Where the API is. Without it, Mythic Beasts' own.
    type: str
    env:
      - name: HOSTEDPI_API_URL
"""

EXAMPLES = r"""
plugin: hosted_pi
prefix: wheels-
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_timeout: 600
cache_connection: ~/.cache/piwheels-builder
keyed_groups:
  - key: model | string
    prefix: model
"""

_GROUP = "builders"


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):  # type: ignore[misc]
    """Asks the API once, and then the cache for as long as that is told to last."""

    NAME = "hosted_pi"

    def verify_file(self, path: str) -> bool:
        return bool(super().verify_file(path)) and path.endswith(("hosted_pi.yml", "hosted_pi.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        self.inventory.add_group(_GROUP)
        self.inventory.set_variable("all", "hosted_pi_prefix", self.get_option("prefix"))
        for pi in self._pis(self.get_cache_key(path), cache=cache):
            self._add(pi)

    def _pis(self, key: str, *, cache: bool) -> list[dict[str, Any]]:
        # Another prefix or API in the same file is another question.
        key = "-".join(part for part in (key, self.get_option("prefix"), self.get_option("api_url")) if part).replace("/", "_")
        cached: list[dict[str, Any]] | None = self._cache.get(key) if cache and self.get_option("cache") else None
        if cached is None:
            cached = self._ask()
            if self.get_option("cache"):
                self._cache[key] = cached
        return cached

    def _ask(self) -> list[dict[str, Any]]:
        told = {name: self.get_option(name) for name in ("key_id", "secret", "auth_url", "api_url")}
        try:
            account = Account(told["key_id"] or "", told["secret"] or "", told["auth_url"] or AUTH_URL, told["api_url"] or API_URL)
            pis, _ = fleets_pis(Client(account, timeout=self.get_option("timeout")), self._prefix())
        except ApiError as error:
            raise AnsibleParserError(f"the fleet's hosted Pis are not known: {error}") from None
        # One that is being provisioned is nobody to log in to yet.
        return [asdict(pi) for pi in pis if pi.status == "live"]

    def _prefix(self) -> str:
        prefix: str = self.get_option("prefix")
        if not prefix.endswith("-") or len(prefix) < 2:
            raise AnsibleParserError(f"prefix is {prefix!r}: end it with a dash (wheels-), or Pis of others may begin so, too")
        return prefix

    def _add(self, told: dict[str, Any]) -> None:
        pi = Server(**told)
        place = self._place(pi)
        if place is None:
            self.display.warning(f"{pi.name} is left out, since the API tells no address of it: say address: name in hosted_pi.yml")
            return
        self.inventory.add_host(pi.name, group=_GROUP)
        its = {"ansible_user": "root", "model": pi.model, "memory": pi.memory, "cpu_speed": pi.cpu_speed, **place}
        for key, value in its.items():
            self.inventory.set_variable(pi.name, key, value)
        strict, known = self.get_option("strict"), self.inventory.get_host(pi.name).get_vars()
        self._set_composite_vars(self.get_option("compose"), known, pi.name, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), known, pi.name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), known, pi.name, strict=strict)

    def _place(self, pi: Server) -> dict[str, Any] | None:
        """How ssh gets there; None where the API told no address."""
        how = self.get_option("address")
        if how == "name":
            return {"ansible_host": pi.host}
        if how == "ipv6":
            return {"ansible_host": pi.ip} if pi.ip else None
        return {"ansible_host": pi.ipv4_host, "ansible_port": pi.ssh_port} if pi.ssh_port else None
