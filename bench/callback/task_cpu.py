"""Ansible callback for bench.round: the processor time that each task took, of Ansible itself and all it started here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: task_cpu
type: aggregate
short_description: Writes the processor time of each task into the file TASK_CPU_FILE
description:
  - A line for each task, C(seconds TAB name).
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Looks at the clock whenever something else begins."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "task_cpu"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._doing, self._since = "start", 0.0

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._begin(f"begin play: {play.get_name()}")

    def v2_playbook_on_task_start(self, task: Any, is_conditional: Any) -> None:  # noqa: ARG002
        self._begin(task.get_name())

    def v2_playbook_on_stats(self, stats: Any) -> None:  # noqa: ARG002
        self._begin("end")

    def _begin(self, what: str) -> None:
        now = sum(os.times()[:4])
        with Path(os.environ["TASK_CPU_FILE"]).open("a") as file:
            file.write(f"{now - self._since:.2f}\t{self._doing}\n")
        self._doing, self._since = what, now
