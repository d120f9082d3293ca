"""Ansible action: carry this checkout's wheel, and its playbooks where they are wanted, to a host that lacks them.

The module of the same name looks first; on a host that has everything it is all that runs.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from piwheels_builder.errors import FleetError
from piwheels_builder.packing import PLAYBOOKS, SOURCES, cache_dir, playbooks, version, wheel

ROOT = Path(__file__).parents[2]
_PACKERS = {"wheel": wheel, "playbooks": playbooks}
_VERSIONS = {"wheel": "version", "playbooks": "playbooks_version"}


@contextmanager
def packing() -> Iterator[None]:
    """What fails within is told as this host's failure. Raises AnsibleActionFail."""
    try:
        yield
    except FleetError as error:
        raise AnsibleActionFail(str(error)) from error
    except subprocess.TimeoutExpired as error:
        raise AnsibleActionFail(f"packing this checkout took longer than {error.timeout:g} s: run this again") from error
    except OSError as error:
        raise AnsibleActionFail(f"this checkout cannot be packed into {cache_dir()}: {error}") from error


class ActionModule(ActionBase):  # type: ignore[misc]
    """See library/fleet_software.py for the options; wheel, playbooks and their versions are added here."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Look, carry what is missing, install."""
        super().run(tmp, task_vars)
        try:
            return self._installed(task_vars or {})
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)

    def _installed(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        arguments: dict[str, Any] = dict(self._task.args)
        with packing():
            arguments["version"] = version(ROOT, SOURCES)
            if arguments.pop("with_playbooks", False):
                arguments["playbooks_version"] = version(ROOT, PLAYBOOKS)
        result = self._run(arguments, task_vars)
        if self._task.check_mode or result.get("failed") or not result.get("missing"):
            return result
        for name in result["missing"]:
            with packing():
                pack = _PACKERS[name](ROOT, cache_dir())
            # The checkout may have changed since it was looked at.
            arguments |= {name: self._carry(pack.path), _VERSIONS[name]: pack.version}
        return self._run(arguments, task_vars)

    def _run(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(module_name="fleet_software", module_args=arguments, task_vars=task_vars)
        return result

    def _carry(self, path: Path) -> str:
        if not self._connection._shell.tmpdir:
            self._make_tmp_path()
        remote: str = self._connection._shell.join_path(self._connection._shell.tmpdir, path.name)
        self._transfer_file(str(path), remote)
        self._fixup_perms2((self._connection._shell.tmpdir, remote))
        return remote
