"""Build tags (PEP 427): how a wheel gets a filename that nobody has, since a published one never changes its bytes."""

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

    Made by the ``wheel`` package, which writes WHEEL and RECORD anew; deterministic. Raises WheelRejected where it cannot.
    """
    build = parse_wheel_filename(wheel.name)[2]
    for number in count(build[0] + 1 if build else 1):
        yield _retag(wheel, number)


def _retag(wheel: Path, number: int) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "wheel", "tags", "--build", str(number), wheel.name],
        cwd=wheel.parent,
        env={**os.environ, "SOURCE_DATE_EPOCH": _EPOCH},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        why = next(iter(done.stderr.strip().splitlines()[-1:]), "no reason given")
        raise WheelRejected(f"{wheel.name} needs a build tag and cannot have one: {why}")
    return wheel.with_name(done.stdout.strip().splitlines()[-1])
