"""What the disk refuses: as long as anything is left, no build starts."""

import logging
import threading

log = logging.getLogger(__name__)


class DiskTrouble:
    """By what was refused. ``work`` guards it, and whoever waits on it is woken once the disk is well again."""

    def __init__(self, work: threading.Condition) -> None:
        self._work = work
        self._why: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._why)

    def __contains__(self, what: object) -> bool:
        return what in self._why

    def said(self) -> str | None:
        """In the words of the one that has lasted longest."""
        return next(iter(self._why.values()), None)

    def refused(self, what: str, why: object) -> None:
        with self._work:
            if what not in self._why:
                log.error("no build starts until the disk is well again: %s", why)
            self._why[what] = str(why)

    def obeyed(self, what: str) -> None:
        with self._work:
            if self._why.pop(what, None) is not None and not self._why:
                log.info("the disk is well again, builds start")
                self._work.notify_all()
