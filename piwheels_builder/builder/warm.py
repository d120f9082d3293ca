"""Warm parents: one for each environment in use, asked for a child for each build.

A child does in a few hundredths of a second what a fresh interpreter needs several tenths for, most of them for importing the
backend. What a parent is, and what sets its children apart, is in inside/parent.py and inside/apart.py.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from piwheels_builder.builder.bubblewrap import Sandbox
from piwheels_builder.builder.environment import Environment
from piwheels_builder.builder.warm_parent import Child, NotWarm, Order, WarmParent
from piwheels_builder.builder.warmable import modules_to_warm

log = logging.getLogger(__name__)

#: What a parent with setuptools takes (measured: 34 MiB), and how many a slot keeps where memory is no matter.
_PARENT_BYTES = 40 * 2**20
_MOST_KEPT = 12


def parents_kept(memory: int, slots: int) -> int:
    """How many parents each slot may keep on a machine with so many bytes of memory: an eighth of it, and at least one."""
    return max(1, min(_MOST_KEPT, memory // 8 // _PARENT_BYTES // slots))


class WarmParents:
    """The warm parents of one slot, at most ``most`` of them, below ``place``. For one thread, which must outlive them."""

    def __init__(self, place: Path, most: int = _MOST_KEPT) -> None:
        self._place = place
        self._most = most
        #: By environment, the least recently used first.
        self._parents: dict[Path, WarmParent] = {}
        self._cold: set[Path] = set()

    @contextmanager
    def child(self, order: Order, sandbox: Sandbox, environment: Environment) -> Iterator[Child]:
        """A child that waits for its order's go; the build's directories are where it finds them, and come back after the block.

        Raises NotWarm where the environment is not known to be safe for it, or this machine does not let it be.
        """
        for path in [path for path, parent in self._parents.items() if not parent.alive()]:
            self._drop(path)
        modules = modules_to_warm(environment.names)
        if modules is None or order.request.backend_path:
            raise NotWarm("its backend is not one of those known to be safe for a warm parent")
        if environment.path in self._cold:
            raise NotWarm("a warm parent for its environment failed before")
        parent = self._parent(sandbox, environment, modules)
        try:
            with parent.lent(order.area), parent.bear(order) as child:
                yield child
        except NotWarm:
            # One that has borne before may just have ended for want of orders; one that never did never will.
            if not parent.proven:
                self._cold.add(environment.path)
            self._drop(environment.path)
            raise

    def processes(self) -> list[int]:
        """The process of each parent that was started and not dropped."""
        return [parent.pid for parent in self._parents.values()]

    def close(self) -> None:
        """End them all."""
        for path in list(self._parents):
            self._drop(path)

    def _parent(self, sandbox: Sandbox, environment: Environment, modules: Sequence[str]) -> WarmParent:
        parent = self._parents.pop(environment.path, None)
        while parent is None and len(self._parents) >= self._most:
            self._drop(next(iter(self._parents)))
        self._parents[environment.path] = parent or WarmParent(self._place / f"warm-{uuid4().hex}", sandbox, modules)
        return self._parents[environment.path]

    def _drop(self, path: Path) -> None:
        parent = self._parents.pop(path, None)
        if parent is not None:
            try:
                parent.close()
            except OSError as error:
                log.warning("a warm parent's directory is left behind: %s", error)
