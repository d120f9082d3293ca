"""Takes the wheel out of a build's directory, and checks it before anybody sees it."""

import errno
import os
import shutil
from pathlib import Path

from piwheels_builder.builder.area import Area, open_left
from piwheels_builder.builder.ending import BuildEnded
from piwheels_builder.errors import WheelRejected
from piwheels_builder.queue.batch import LeasedBuild
from piwheels_builder.states import Outcome
from piwheels_builder.wheels import LARGEST, InspectedWheel, check_wheel


def collect(area: Area, leased: LeasedBuild, delivery: Path) -> InspectedWheel:
    """Copy the one wheel a build made into ``delivery``, checked. Raises BuildEnded and leaves nothing there otherwise.

    What is checked is the copy, which is what is delivered: the build can't reach it.
    """
    wheel = delivery / _the_one_name(area)
    try:
        _copy(area, wheel)
        return check_wheel(wheel, leased.project, leased.version, leased.target)
    except WheelRejected as rejection:
        wheel.unlink(missing_ok=True)
        outcome = Outcome.VERSION_MISMATCH if rejection.other_release else Outcome.BAD_WHEEL
        raise BuildEnded(outcome, str(rejection)) from rejection
    except BaseException:
        wheel.unlink(missing_ok=True)
        raise


def _the_one_name(area: Area) -> str:
    try:
        descriptor = os.open(area.wheels, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise BuildEnded(Outcome.NO_WHEEL_MADE, "the build removed the directory for its wheel") from error
    try:
        names = [
            name
            for name in os.listdir(descriptor)  # noqa: PTH208 - by descriptor
            if name.endswith(".whl")
        ]
    finally:
        os.close(descriptor)
    if len(names) != 1:
        found = f"{len(names)} wheels: {', '.join(sorted(names)[:5])}" if names else "no wheel"
        raise BuildEnded(Outcome.NO_WHEEL_MADE, f"the backend ended without an error, and left {found}")
    return names[0]


def _copy(area: Area, to: Path) -> None:
    try:
        with open_left(area, "wheels", to.name) as made, to.open("xb") as wheel:
            if os.fstat(made.fileno()).st_size > LARGEST:
                raise WheelRejected(f"the wheel has more than {LARGEST} bytes")
            shutil.copyfileobj(made, wheel)
    except OSError as error:
        # ELOOP and so on: what lies there is a link, a directory, a pipe. A full disk is the builder's own trouble.
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}:
            raise
        raise WheelRejected(f"what lies there as {to.name!a} is no file: {error.strerror or error}") from error
