"""Wheels under other tags (PEP 427): a build tag where a name is taken, since a published one never changes its bytes; a platform.

Made by the ``wheel`` package, which writes WHEEL and RECORD anew; deterministic.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from packaging.utils import parse_wheel_filename

from piwheels_builder.errors import WheelRejected

#: 1980-01-01, the first moment a zip file can tell: the same wheel and tag give the same bytes.
_EPOCH = "315532800"


def retagged(wheel: Path) -> Iterator[Path]:
    """The wheel with one build tag after the other, counted up from its own, each beside it and made when asked for.

    Raises WheelRejected where it cannot have one.
    """
    build = parse_wheel_filename(wheel.name)[2]
    for number in count(build[0] + 1 if build else 1):
        yield _tagged(wheel, "build", str(number))


def for_platform(wheel: Path, platform: str) -> Path:
    """The wheel with another platform in its tags, beside it. Raises WheelRejected where it cannot have it."""
    return _tagged(wheel, "platform", platform)


def _tagged(wheel: Path, kind: str, value: str) -> Path:
    option = {"build": "--build", "platform": "--platform-tag"}[kind]
    done = subprocess.run(
        [sys.executable, "-m", "wheel", "tags", option, value, wheel.name],
        cwd=wheel.parent,
        env={**os.environ, "SOURCE_DATE_EPOCH": _EPOCH},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        why = next(iter(done.stderr.strip().splitlines()[-1:]), "no reason given")
        raise WheelRejected(f"{wheel.name} needs the {kind} tag {value} and cannot have it: {why}")
    return wheel.with_name(done.stdout.strip().splitlines()[-1])
