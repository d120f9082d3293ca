"""Ansible action: keep one builder busy until nothing is left that it could build. What it does is told in queue/convergence.py.

One action, since a loop of plays or included tasks costs seconds a turn, and a module would run on one host: this one leases and
publishes on the index host and delivers and watches on the builder. The builder is the host of the task; a second connection
goes to the index host where that is another one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from piwheels_builder.errors import FleetError
from piwheels_builder.queue.convergence import Convergence, Leased, Patience, Sight, Unreachable

display = Display()

_ARGUMENTS = {
    "index_host": {"type": "str", "required": True},
    "builder": {"type": "str", "required": True},
    "state_dir": {"type": "path", "required": True},
    "lease": {"type": "dict", "required": True},
    "publication": {"type": "dict", "required": True},
    "away_seconds": {"type": "float", "default": 600},
    "delayed_seconds": {"type": "float", "default": 120},
}
#: What modules say of a database that will be back.
_AWAY = ("the database cannot be reached", "the database went away")


class Station:
    """A host that modules run on, over the connection of an action of its own."""

    def __init__(self, name: str, action: ActionBase, variables: dict[str, Any]) -> None:
        self._name = name
        self._action = action
        self._variables = variables

    def run(self, module: str, **arguments: object) -> dict[str, Any]:
        """A module's result. Raises Unreachable where the host or its database is away, AnsibleActionFail where it failed."""
        try:
            result: dict[str, Any] = self._action._execute_module(
                module_name=module, module_args=arguments, task_vars=self._variables
            )
        except AnsibleConnectionFailure as error:
            self._action._connection.reset()
            raise Unreachable(f"{self._name} cannot be reached: {error}") from error
        if result.get("unreachable"):
            raise Unreachable(f"{self._name} cannot be reached: {result.get('msg')}")
        if result.get("failed"):
            message = str(result.get("msg"))
            if message.startswith(_AWAY):
                raise Unreachable(f"{self._name}: {message}")
            raise AnsibleActionFail(f"{module} on {self._name}: {message}", result=result)
        return result


class TwoStations:
    """Stations (queue/convergence.py) of the builder and the index host."""

    def __init__(self, arguments: Mapping[str, Any], builder: Station, index: Station) -> None:
        self._name = arguments["builder"]
        self._state_dir = arguments["state_dir"]
        self._lease = arguments["lease"]
        self._publication = arguments["publication"]
        self._builder = builder
        self._index = index

    def held(self) -> list[Mapping[str, Any]]:
        batches: list[Mapping[str, Any]] = self._index.run("version_batch", **self._lease, state="held", builders=[self._name])[
            "held"
        ]
        return batches

    def lease(self) -> Leased:
        result = self._index.run("version_batch", **self._lease, state="leased", builders=[self._name])
        wheels_wait, paused = self._name in result["waiting"], result["paused"].get(self._name)
        return Leased(result["batches"].get(self._name), result["totals"], wheels_wait, paused, result["stopped"])

    def release(self, batch: Mapping[str, Any]) -> None:
        self._index.run("version_batch", **self._lease, state="released", lease_ids=[batch["lease_id"]])

    def deliver(self, batch: Mapping[str, Any]) -> None:
        self._builder.run("spool_batch", spool_dir=f"{self._state_dir}/spool", batch=batch)

    def look(self) -> Sight:
        seen = self._builder.run("builder_info", state_dir=self._state_dir)
        status = seen["status"]
        running = tuple(f"{build['project']} {build['version']} for {build['target']}" for build in status.get("running", ()))
        # A batch that the service has not seen yet is at least one build.
        spool = max(status.get("spool", 0), 0 if running else min(1, seen["batches"]))
        trouble = status.get("disk_trouble") or status.get("memory_trouble") or status.get("database_trouble")
        return Sight(seen["alive"], running, spool, seen["unrecorded"], trouble)

    def publish(self) -> int:
        return len(self._index.run("wheel_publication", **self._publication).get("published", ()))

    def say(self, text: str) -> None:
        display.display(f"{self._name}: {text}")


class ActionModule(ActionBase):  # type: ignore[misc]
    """The action itself: two stations, one convergence."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Converge, or in check mode only tell what would be leased."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        _, arguments = self.validate_argument_spec(argument_spec=_ARGUMENTS)
        stations = TwoStations(
            arguments, Station(variables["inventory_hostname"], self, variables), self._station(arguments["index_host"], variables)
        )
        if self._task.check_mode:
            leased = stations.lease()
            return {**result, "changed": leased.batch is not None, "totals": leased.totals}
        convergence = Convergence(stations, Patience(away=arguments["away_seconds"], delayed=arguments["delayed_seconds"]))
        try:
            leased = convergence.run()
        except FleetError as error:
            raise AnsibleActionFail(str(error)) from error
        if leased.paused:
            display.warning(f"{arguments['builder']} is paused: {leased.paused}")
        changed = bool(convergence.leased or convergence.published)
        return {**result, "changed": changed, "totals": leased.totals, "published": convergence.published}

    def _station(self, host: str, variables: dict[str, Any]) -> Station:
        if host == variables["inventory_hostname"]:
            return Station(host, self, variables)
        # As they stand in the inventory, since templates in them are that host's, not this one's.
        raw = dict(variables["hostvars"].raw_get(host))
        templar = self._templar.copy_with_new_env(available_variables=raw)
        kind = templar.template(raw.get("ansible_connection", "ssh"))
        connection = self._shared_loader_obj.connection_loader.get(
            kind, self._play_context, new_stdin=None, task_uuid=self._task._uuid, ansible_playbook_pid=str(os.getppid())
        )
        connection.set_options(var_options=connection._resolve_option_variables(raw, templar))
        action = self._shared_loader_obj.action_loader.get(
            "ansible.legacy.normal",
            task=self._task,
            connection=connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        return Station(host, action, {**raw, "ansible_python_interpreter": templar.template(raw["ansible_python_interpreter"])})
