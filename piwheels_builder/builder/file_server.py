"""The file server that a host with its root on the network cannot do without: whether it is full, and whether it failed this host.

While it hangs, whatever reads from it waits; what it fails to read ends in errors that look like the release's own: a compiler that
dies of SIGBUS, a header that isn't there. So a failure during its trouble says nothing of the release.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

#: Made by the file server below each directory that it exports, while it has no room (role netboot_server).
FULL = Path(".piwheels/file-server-full")
#: Seconds between two questions, and how long an answer may take before it counts as trouble: a busy server is not a broken one.
_EVERY = 5.0
_PATIENCE = 30.0
#: nfsiostat(8): of the numbers of an operation, the ninth counts those that ended with an error, since Linux 5.3.
_ERRORS = 8


def full_mark(mount_points: Sequence[Path]) -> Path | None:
    """The mark by which a file server says that it is full; None where there is none. Raises OSError where it does not answer."""
    for point in mount_points:
        # Listed and not looked up: an overlay remembers the names that its lower directory hadn't.
        with suppress(FileNotFoundError, NotADirectoryError):
            if FULL.name in os.listdir(point / FULL.parent):  # noqa: PTH208
                return point / FULL
    return None


class FileServer:
    """Asks it now and then, in a thread of its own: a question to a server that hangs may never come back.

    ``ask`` puts one question about a mount point, and raises OSError where it fails. ``mountstats`` is where the kernel counts.
    """

    def __init__(
        self,
        mount_points: Sequence[Path],
        *,
        ask: Callable[[Path], object] = os.statvfs,
        mountstats: Path = Path("/proc/self/mountstats"),
        patience: float = _PATIENCE,
        every: float = _EVERY,
    ) -> None:
        self._mount_points = mount_points
        self._ask = ask
        self._mountstats = mountstats
        self._patience = patience
        self._every = every
        self._lock = threading.Lock()
        self._asked_at: float | None = None
        self._trouble: tuple[float, str] | None = None
        self._is_well = True
        self._errors = failed_reads(mountstats)

    def watch(self) -> None:
        """Begin to ask; ends with the process."""
        threading.Thread(target=self._ask_for_ever, daemon=True).start()

    def trouble_since(self, moment: float) -> str | None:
        """What was wrong with it at some time since then, by the monotonic clock; None where nothing was. Never waits for it."""
        with self._lock:
            self._count()
            if self._asked_at is not None and time.monotonic() - self._asked_at > self._patience:
                return "the file server of this host does not answer"
            return self._trouble[1] if self._trouble and self._trouble[0] >= moment else None

    def _ask_for_ever(self) -> None:
        while True:
            for point in self._mount_points:
                self._ask_once(point)
            time.sleep(self._every)

    def _ask_once(self, point: Path) -> None:
        self._asked_at = began = time.monotonic()
        failed: OSError | None = None
        try:
            self._ask(point)
        except OSError as error:
            failed = error
        with self._lock:
            self._asked_at = None
            took = time.monotonic() - began
            if failed:
                self._note(f"the file server of this host failed: {failed}")
            elif took > self._patience:
                self._note(f"the file server of this host did not answer for {took:.0f} s")
            self._is_well = failed is None

    def _count(self) -> None:
        errors = failed_reads(self._mountstats)
        if errors > self._errors:
            self._note("the file server of this host failed to read a file")
        self._errors = errors

    def _note(self, what: str) -> None:
        if self._is_well:
            log.warning("%s: a build that fails meanwhile is built again", what)
        self._trouble = (time.monotonic(), what)


def failed_reads(mountstats: Path) -> int:
    """How many reads from NFS have ended with an error, as this kernel counts them; 0 where nothing is mounted by NFS."""
    try:
        lines = mountstats.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 0
    reads = (line.split()[1:] for line in lines if line.split()[:1] == ["READ:"])
    return sum(int(numbers[_ERRORS]) for numbers in reads if len(numbers) > _ERRORS)
