"""Twins: a wheel built on an armv7l Pi, served to the Pi 1 and Zero as well, under their own tag.

Only where everything compiled in it is known to run there: see arm.py. The twin differs in nothing but its tags.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import aiosql

from piwheels_builder.db.connect import Connection
from piwheels_builder.errors import WheelRejected
from piwheels_builder.index.buildtag import for_platform
from piwheels_builder.wheels import InspectedWheel, inspect_wheel

_queries = aiosql.from_path(Path(__file__).with_name("twin.sql"), "psycopg2")


def publish_twin(
    connection: Connection,
    wheel_id: int,
    published: tuple[Path, InspectedWheel],
    workshop: Path,
    *,
    is_free: Callable[[InspectedWheel], bool],
    place: Callable[[Path, InspectedWheel], object],
) -> str | None:
    """Place and book the twin of a wheel that was placed and booked in the same transaction, if it may have one.

    So a kill before the commit leaves both to be done again, with the same bytes. Where its name is not ``is_free`` there is none:
    whoever has the name serves those machines. ``place`` moves it from the workshop into the tree. Returns its filename.
    """
    file, original = published
    if not may_have_twin(original):
        return None
    try:
        made = _make(file, workshop)
        twin = inspect_wheel(made)
    except WheelRejected:
        return None  # The wheel itself is none the worse for it.
    if not is_free(twin):
        return None
    place(made, twin)
    booked = _queries.publish_twin(connection, wheel_id=wheel_id, filename=twin.filename, sha256=twin.sha256, size=twin.size)
    return twin.filename if booked else None


def may_have_twin(wheel: InspectedWheel) -> bool:
    """Whether it is for armv7l alone, and would run on armv6l. Levels of manylinux are not defined for armv6l (PEP 599, 600)."""
    return {tag.platform for tag in wheel.tags} == {"linux_armv7l"} and wheel.beyond_armv6 is None


def _make(file: Path, workshop: Path) -> Path:
    copy = workshop / file.name
    shutil.copyfile(file, copy)
    return for_platform(copy, "linux_armv6l")
