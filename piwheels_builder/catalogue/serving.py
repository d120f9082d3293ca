"""Which of upstream's wheels of a release serves a target: then ours is needless, and leaves the page."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

from piwheels_builder.catalogue.filenames import is_pure, wheel_tags
from piwheels_builder.targets import Target


class OfferedWheel(Protocol):
    """What upstream says of a wheel, as the catalogue or a page has it."""

    @property
    def filename(self) -> str: ...
    @property
    def requires_python(self) -> str | None: ...


Wheel = TypeVar("Wheel", bound=OfferedWheel)


def serving_wheel(offered: Iterable[Wheel], target: Target) -> Wheel | None:
    """The first of one release's wheels, none of them yanked, that serves the target.

    A pure one counts only where the release has no platform wheels: beside those it is the slow fallback that users complain of.
    """
    wheels = [(wheel, wheel_tags(wheel.filename)) for wheel in offered]
    counting = [(wheel, tags) for wheel, tags in wheels if not is_pure(tags)] or wheels
    for wheel, tags in counting:
        if target.is_served_by(tags) and target.is_admitted_by(wheel.requires_python):
            return wheel
    return None
