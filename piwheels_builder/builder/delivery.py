"""Where a trial's log and wheel lie while it lasts; the next trial clears up after one that was killed."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

from piwheels_builder.builder.area import discard
from piwheels_builder.builder.in_memory import leave, memory_directory
from piwheels_builder.errors import BuilderRunning

_PREFIX = "delivery-"


@contextmanager
def own_delivery(state_dir: Path, lease_id: UUID) -> Iterator[Path]:
    """A new, empty directory below an existing one, for the length of a block. Raises OSError."""
    delivery = state_dir / f"{_PREFIX}{lease_id}"
    # One at a time, so that none is taken for abandoned before its lock.
    with _locked(state_dir):
        _clear_killed(state_dir)
        delivery.mkdir(mode=0o700)
        lock = _lock(delivery, fcntl.LOCK_EX)
    try:
        yield delivery
    finally:
        discard(delivery)
        os.close(lock)
        leave(state_dir)


def _clear_killed(state_dir: Path) -> None:
    """Remove what trials that run no more left, the delivery last, since the rest is found by it."""
    found = list(state_dir.glob(f"{_PREFIX}*"))
    killed = [delivery for delivery in found if _is_free(delivery)]
    if killed and len(killed) == len(found):
        _clear_half_made(state_dir)
    for delivery in killed:
        # What cannot be removed must not keep this trial from its build.
        with suppress(OSError):
            for place in (state_dir / "area", memory_directory(state_dir)):
                for area in place.glob(f"{delivery.name.removeprefix(_PREFIX)}-*"):
                    discard(area)
            discard(delivery)


def _clear_half_made(state_dir: Path) -> None:
    """What belongs to no single trial, where there is no other, and no service either."""
    # Its imports would cost every trial's start.
    from piwheels_builder.builder.recovery import clear_half_made, sole_use  # noqa: PLC0415

    with suppress(BuilderRunning), sole_use(state_dir):
        clear_half_made(state_dir)


def _is_free(delivery: Path) -> bool:
    try:
        os.close(_lock(delivery, fcntl.LOCK_EX | fcntl.LOCK_NB))
    except OSError:
        # Locked, or gone by now.
        return False
    return True


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    lock = _lock(directory, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(lock)


def _lock(directory: Path, how: int) -> int:
    """A descriptor that holds the lock until it is closed, or its process ends. Builds do not inherit it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
