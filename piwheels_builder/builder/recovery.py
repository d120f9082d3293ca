"""What a service does before its first build: make sure it is alone, and clear up what the last one left."""

import fcntl
import logging
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from piwheels_builder.builder.area import discard
from piwheels_builder.builder.disk import write_atomically
from piwheels_builder.builder.in_memory import leave, memory_directory
from piwheels_builder.builder.outbox import Outbox
from piwheels_builder.builder.spool import Spool
from piwheels_builder.errors import BuilderRunning
from piwheels_builder.settings import BuilderSettings

log = logging.getLogger(__name__)


@contextmanager
def sole_use(state_dir: Path) -> Iterator[None]:
    """Hold a state directory for the length of a block. Raises BuilderRunning where another service does."""
    # The lock goes with the process, however that ends; builds do not inherit the descriptor.
    with (state_dir / "lock").open("a") as lock:
        _lock(lock, state_dir)
        try:
            yield
        finally:
            # Nothing is in progress now: what stopped builds left in memory would stay there until the next start.
            clear(memory_directory(state_dir), "*")
            leave(state_dir)


def _lock(lock: IO[str], state_dir: Path) -> None:
    # Whoever only looks whether a service runs holds it for a moment.
    for patience in (0.1, 0.4, None):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if patience is None:
                raise BuilderRunning(
                    f"another builder service uses {state_dir}: stop it first, or name another state_dir"
                ) from error
            time.sleep(patience)
        else:
            return


def recover(settings: BuilderSettings, spool: Spool, outbox: Outbox) -> None:
    """Deliver every build that began and never ended as killed, and remove what was half made. Raises OSError: call it again."""
    state_dir = settings.state_dir
    _answer_to(settings.name, state_dir / "name", spool, outbox)
    spool.clear_leftovers()
    outbox.clear_leftovers()
    outbox.discard_damaged()
    entries = {entry.name: entry for entry in outbox.entries()}
    for name, if_it_never_ended in spool.begun().items():
        if name not in entries:
            log.warning("%s %s was interrupted", if_it_never_ended.project, if_it_never_ended.version)
            outbox.prepare(name)
            outbox.deliver(if_it_never_ended)
        elif entries[name].recorded:
            spool.end(name)
    (state_dir / "area").mkdir(exist_ok=True)
    clear(state_dir / "area", "*")
    clear(memory_directory(state_dir), "*")
    clear_half_made(state_dir)
    if settings.caches_dir:
        clear_half_made(settings.caches_dir)


def _answer_to(name: str, kept: Path, spool: Spool, outbox: Outbox) -> None:
    """Say nothing under the leases of a former name, which ``kept`` holds: to the database, they are another builder's."""
    clear(kept.parent, f".{kept.name}.*")
    former = kept.read_text(encoding="utf-8", errors="replace").strip() if kept.exists() else ""
    if former == name:
        return
    if former:
        log.warning("this builder was called %s: what it was to build and to tell under that name is given up", former)
        for entry in outbox.unrecorded():
            outbox.set_aside(entry, f"it was built as {former}, and this is {name} now")
        spool.clear()
    write_atomically(kept, f"{name}\n")


def clear_half_made(caches: Path) -> None:
    """Remove environments, sdists and resolutions that were being made, or dropped. For whoever is alone there."""
    for place in ("environments", "cache/sdists", "cache/resolutions"):
        clear(caches / place, ".*")


def clear(directory: Path, pattern: str) -> None:
    """Remove what a builder that is gone left there, as far as that goes."""
    for leftover in directory.glob(pattern):
        try:
            discard(leftover)
        except (OSError, subprocess.SubprocessError) as error:
            log.warning("%s is left behind: %s", leftover, error)
