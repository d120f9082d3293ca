"""What the action converge makes of a module's failure."""

import errno
import importlib.util
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail

from piwheels_builder.queue.convergence import Unreachable

_PLUGIN = Path(__file__).parents[2] / "plugins/action/converge.py"
_FOUND = importlib.util.spec_from_file_location("converge_action", _PLUGIN)
assert _FOUND and _FOUND.loader
converge = importlib.util.module_from_spec(_FOUND)
_FOUND.loader.exec_module(converge)


def chained(*messages: str) -> Any:
    """An exception as ansible-core tells it: each caused by the next."""
    link: Any = None
    for message in reversed(messages):
        link = SimpleNamespace(event=SimpleNamespace(msg=message, chain=link))
    return link


def run(**result: object) -> None:
    action: Any = SimpleNamespace(_execute_module=lambda **_: {"failed": True, **result})
    converge.Station("index", action, {}).run("version_batch")


def test_a_module_that_cannot_begin_says_why() -> None:
    with pytest.raises(AnsibleActionFail, match="version_batch on index: no temporary directory: Permission denied"):
        run(exception=chained("no temporary directory", "Permission denied"))


def test_a_module_that_says_nothing_at_all_is_told_of() -> None:
    with pytest.raises(AnsibleActionFail, match="it did not say why"):
        run()


FULL = f"[Errno 28] {os.strerror(errno.ENOSPC)}: '/var/lib'"


@pytest.mark.parametrize(
    "told", [{"msg": FULL}, {"exception": chained("no temporary directory", FULL)}], ids=["words", "exception"]
)
def test_a_full_disk_is_waited_for(told: dict[str, Any]) -> None:
    with pytest.raises(Unreachable, match="No space left on device"):
        run(**told)


def test_what_an_unreachable_host_says_cannot_speak_to_the_terminal() -> None:
    with pytest.raises(Unreachable, match=r"cannot be reached: \?\[2Jgone"):
        run(unreachable=True, msg="\x1b[2Jgone")


def test_a_builder_that_drains_with_work_is_in_trouble() -> None:
    status = {"running": [], "spool": 2, "draining": "a new \x1bkernel"}
    seen = {"status": status, "alive": True, "batches": 1, "unrecorded": 0}
    assert "draining: a new ?kernel" in converge._sight(seen).trouble
    assert converge._sight({**seen, "batches": 0, "status": {**status, "spool": 0}}).trouble is None


def test_a_builder_whose_file_server_runs_out_of_room_is_in_trouble() -> None:
    status = {"running": [], "spool": 0, "disk_trouble": None, "leasing_trouble": "900 MiB free where the outbox is"}
    seen = {"status": status, "alive": True, "batches": 0, "unrecorded": 0}
    assert converge._sight(seen).trouble == "900 MiB free where the outbox is"
    assert converge._sight({**seen, "status": {**status, "leasing_trouble": None}}).trouble is None
