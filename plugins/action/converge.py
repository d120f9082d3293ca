"""Ansible action: keep one builder busy until nothing is left that it could build. What it does is told in queue/convergence.py.

One action, since a loop of plays or included tasks costs seconds a turn, and a module would run on one host: this one leases,
collects and publishes on the index host and delivers and watches on the builder. The builder is the host of the task; connections
of its own go to the index host, one for each user that it is there.
"""

from __future__ import annotations

import errno
import hashlib
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import become_loader
from ansible.utils.display import Display

from piwheels_builder.errors import FleetError
from piwheels_builder.queue.convergence import Convergence, Leased, Patience, Sight, Unreachable
from piwheels_builder.queue.progress import Progress, Teller, printable

display = Display()

_ARGUMENTS = {
    "index_host": {"type": "str", "required": True},
    "index_python": {"type": "str", "required": True},
    "dispatcher_user": {"type": "str", "default": ""},
    "publisher_user": {"type": "str", "default": ""},
    "builder": {"type": "str", "required": True},
    "builders": {"type": "int", "default": 1},
    "state_dir": {"type": "path", "required": True},
    "lease": {"type": "dict", "required": True},
    "collection": {"type": "dict", "default": {}},
    "publication": {"type": "dict", "required": True},
    "answer_seconds": {"type": "float", "default": 120},
    "away_seconds": {"type": "float", "default": 600},
    "delayed_seconds": {"type": "float", "default": 120},
}
#: What modules say of a database that will be back.
_AWAY = ("the database cannot be reached", "the database went away")
#: What a disk says that somebody will make room on.
_FULL = os.strerror(errno.ENOSPC)
#: Seconds between questions to the index host, for each builder that asks besides: a module takes about half a second of it.
_ASK_EACH, _APART_EACH = 1.0, 0.25
_MOST_SLOTS = 64
#: Letters of what a module printed that are shown where it failed.
_LONGEST = 2000
#: More builds than any spool holds: a builder may say any number.
_MOST_BUILDS = 10**6


class Station:
    """A host that modules run on, over the connection of an action of its own."""

    def __init__(self, name: str, action: ActionBase, variables: dict[str, Any], seconds: float = 0) -> None:
        self._name = name
        self._action = action
        self._variables = variables
        # After which it is given up; 0: never, since a publication takes as long as it takes.
        self._seconds = seconds

    def run(self, module: str, **arguments: object) -> dict[str, Any]:
        """A module's result. Raises Unreachable where the host or its database is away, AnsibleActionFail where it failed."""
        try:
            with _within(self._seconds):
                result: dict[str, Any] = self._action._execute_module(
                    module_name=module, module_args=arguments, task_vars=self._variables
                )
        except _Silent:
            self._action._connection.reset()
            raise Unreachable(f"{self._name} did not answer within {self._seconds:.0f} s") from None
        except AnsibleConnectionFailure as error:
            # A master of multiplexed connections that hangs would keep all that follow from the host.
            self._action._connection.reset()
            raise Unreachable(f"{self._name} cannot be reached: {error}") from error
        if result.get("unreachable") or _was_killed(result):
            raise Unreachable(f"{self._name} cannot be reached: {printable(result.get('msg'))}")
        if result.get("failed"):
            message = _words(result)
            if message.startswith(_AWAY) or _FULL in message:
                raise Unreachable(f"{self._name}: {printable(message)}")
            brief = {name: told[-_LONGEST:] if isinstance(told, str) else told for name, told in result.items()}
            raise AnsibleActionFail(f"{module} on {self._name}: {printable(message)}", result=brief)
        return result


def _words(result: Mapping[str, Any]) -> str:
    """Why a module failed. One that could not begin, on a full disk for example, has no message, but a chain of exceptions."""
    said, link = [result.get("msg")], result.get("exception")
    while (event := getattr(link, "event", None)) is not None:
        said.append(event.msg)
        link = event.chain
    return ": ".join(str(words) for words in said if words) or "it did not say why"


class _Silent(BaseException):
    """Time is up. No Exception, which a connection would take for its own and try again."""


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raise _Silent in a block that takes longer."""

    def give_up(*_: object) -> None:
        raise _Silent

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _was_killed(result: Mapping[str, Any]) -> bool:
    """Whether a module ended by a signal, as when its host goes down, before it could say anything."""
    code = result.get("rc")
    return bool(result.get("failed")) and "module_stdout" in result and isinstance(code, int) and (code < 0 or code > 128)


class TwoStations:
    """Stations (queue/convergence.py) of the builder and the index host, there as the dispatcher and as the publisher."""

    def __init__(self, arguments: Mapping[str, Any], builder: Station, dispatcher: Station, publisher: Station) -> None:
        self._name = arguments["builder"]
        self._state_dir = arguments["state_dir"]
        self._lease = arguments["lease"]
        self._collection = _for_one(arguments["collection"], self._name)
        self._publication = _for_one(arguments["publication"], self._name)
        self._builder = builder
        self._dispatcher = dispatcher
        self._publisher = publisher
        self._since: str | None = None
        self._teller = Teller(display.display)

    def held(self) -> list[Mapping[str, Any]]:
        result = self._version_batch("held", builders=[self._name])
        self._since = self._since or result["time"]
        batches: list[Mapping[str, Any]] = result["held"]
        return batches

    def lease(self) -> Leased:
        result = self._version_batch("leased", builders=[self._name], since=self._since)
        return Leased(
            result["batches"].get(self._name),
            result["totals"],
            self._name in result["waiting"],
            result["paused"].get(self._name),
            result["stopped"],
            holds=self._name in result["holding"],
            could_have=self._name in result["could_have"],
            **result.get("tally", {}).get(self._name, {}),
        )

    def release(self, batch: Mapping[str, Any]) -> None:
        self._version_batch("released", lease_ids=[batch["lease_id"]])

    def _version_batch(self, state: str, **arguments: object) -> dict[str, Any]:
        return self._dispatcher.run("version_batch", **self._lease, state=state, **arguments)

    def deliver(self, batch: Mapping[str, Any]) -> None:
        self._builder.run("spool_batch", spool_dir=f"{self._state_dir}/spool", batch=batch)

    def look(self) -> Sight:
        seen = self._builder.run("builder_info", state_dir=self._state_dir)
        try:
            return _sight(seen)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise AnsibleActionFail(
                f"{self._name} answers what no builder does ({printable(error)}): provision it again, and where that does not help,"
                f" do not believe it (`piwheels-builder distrust {self._name}`)"
            ) from None

    def publish(self) -> int:
        since, away = self._collect() if self._collection else ({}, {})
        published = self._publisher.run("wheel_publication", **self._publication, **since)
        for builder, why in published.get("quarantined", {}).items():
            self.say(f"quarantined: {why}; look at {builder}, then `piwheels-builder resume` or `distrust` it")
        if self._name in away and not published["settled"]:
            raise Unreachable(f"its wheels cannot be collected: {away[self._name]}")
        return int(published["settled"])

    def _collect(self) -> tuple[dict[str, Any], dict[str, str]]:
        collected = self._publisher.run("wheel_collection", **self._collection)
        away = collected["unreachable_builders"]
        return {"recorded_before": collected["collected_at"], "uncollected": list(away)}, away

    def show(self, progress: Progress) -> None:
        self._teller.show(replace(progress, builder=self._name))

    def say(self, text: str) -> None:
        self._teller.say(f"{self._name}: {text}")


def _sight(seen: Mapping[str, Any]) -> Sight:
    """What a builder says of itself, whatever that is. Raises what reading something else than expected raises."""
    status = seen["status"]
    builds = status.get("running", ())[:_MOST_SLOTS]
    running = tuple(printable(f"{build['project']} {build['version']} for {build['target']}") for build in builds)
    # A batch that the service has not seen yet is at least one build.
    spool = max(_count(status.get("spool", 0)), 0 if running else min(1, _count(seen["batches"])))
    kinds = ("disk_trouble", "memory_trouble", "database_trouble", "leasing_trouble")
    trouble = next((status[kind] for kind in kinds if status.get(kind)), None)
    if not trouble and spool and (reason := status.get("draining")):
        trouble = f"it is draining: {reason}; `piwheels-builder undrain` there ends that"
    return Sight(bool(seen["alive"]), running, spool, _count(seen["unrecorded"]), printable(trouble) if trouble else None)


def _count(told: object) -> int:
    if not isinstance(told, int):
        raise TypeError(f"{printable(told)} is no number")
    return max(0, min(told, _MOST_BUILDS))


def _for_one(arguments: Mapping[str, Any], builder: str) -> dict[str, Any]:
    """For a builder's own files alone: nobody waits for another's."""
    return {**arguments, "incoming": {builder: arguments["incoming"][builder]}} if arguments else {}


class ActionModule(ActionBase):  # type: ignore[misc]
    """The action itself: the stations, one convergence."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Converge, or in check mode only tell what would be leased."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        _, arguments = self.validate_argument_spec(argument_spec=_ARGUMENTS)
        stations = TwoStations(
            arguments,
            Station(variables["inventory_hostname"], self, variables, arguments["answer_seconds"]),
            self._station(arguments, variables, arguments["dispatcher_user"]),
            self._station(arguments, variables, arguments["publisher_user"]),
        )
        if self._task.check_mode:
            leased = stations.lease()
            return {**result, "changed": leased.batch is not None, "totals": leased.totals}
        convergence = Convergence(stations, _patience(arguments))
        try:
            leased = convergence.run()
        except FleetError as error:
            stations.show(Progress("", notes=(f"ended: {error}",), over=True))
            raise AnsibleActionFail(str(error)) from error
        if leased.paused:
            display.warning(f"{arguments['builder']} is paused: {leased.paused}")
        changed = bool(convergence.leased or convergence.published)
        return {**result, "changed": changed, "totals": leased.totals, "published": convergence.published}

    def _station(self, arguments: Mapping[str, Any], variables: dict[str, Any], user: str) -> Station:
        host = arguments["index_host"]
        if host == variables["inventory_hostname"] and not user:
            return Station(host, self, variables)
        # As they stand in the inventory, since templates in them are that host's, not this one's.
        raw = dict(variables["hostvars"].raw_get(host))
        templar = self._templar.copy_with_new_env(available_variables=raw)
        connection = self._connect(raw, templar, arguments["builder"], user)
        action = self._shared_loader_obj.action_loader.get(
            "ansible.legacy.normal",
            task=self._task,
            connection=connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        return Station(host, action, {**raw, "ansible_python_interpreter": arguments["index_python"]})

    def _connect(self, raw: dict[str, Any], templar: Any, builder: str, user: str) -> Any:
        kind = templar.template(raw.get("ansible_connection", "ssh"))
        connection = self._shared_loader_obj.connection_loader.get(
            kind, self._play_context, new_stdin=None, task_uuid=self._task._uuid, ansible_playbook_pid=str(os.getppid())
        )
        connection.set_options(var_options=connection._resolve_option_variables(raw, templar))
        if connection.transport == "ssh":
            # A connection for each builder's action: sshd allows ten sessions on one, and reset ends them all.
            ours = hashlib.sha256(f"{raw['inventory_hostname']} {builder}".encode()).hexdigest()[:12]
            connection.set_option("control_path", f"%(directory)s/{ours}")
        connection.set_become_plugin(_become(raw, templar, user) if user else None)
        return connection


def _become(raw: dict[str, Any], templar: Any, user: str) -> Any:
    method = templar.template(raw.get("ansible_become_method", "sudo"))
    plugin = become_loader.get(method)
    if plugin is None:
        raise AnsibleActionFail(f"ansible_become_method is {method!r}, which this Ansible does not have")
    known = ("exe", "flags", "password", "pass")
    given = {name: templar.template(raw[name]) for name in (f"ansible_become_{each}" for each in known) if name in raw}
    plugin.set_options(var_options=given, direct={"become_user": user})
    return plugin


def _patience(arguments: Mapping[str, Any]) -> Patience:
    others = arguments["builders"] - 1
    usual = Patience()
    return Patience(
        away=arguments["away_seconds"],
        delayed=arguments["delayed_seconds"],
        ask=max(usual.ask, others * _ASK_EACH),
        apart=others * _APART_EACH,
    )
