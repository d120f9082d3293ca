"""What the builder has to know about a Python it builds for."""

import functools
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from piwheels_builder.builder import about_python
from piwheels_builder.builder.about_python import about_this_python
from piwheels_builder.errors import BadInput


@dataclass(frozen=True)
class Interpreter:
    """``executable`` is the Python itself, not a virtual environment's; ``prefixes`` are the directories it lives in."""

    executable: Path
    prefixes: tuple[Path, ...]
    version: str
    implementation: str
    abi: str
    free_threaded: bool
    bits: int

    @property
    def identity(self) -> str:
        """Changes whenever environments made for it no longer fit."""
        return json.dumps(asdict(self), default=str, sort_keys=True)

    @property
    def python_abi(self) -> str:
        """As in a target: cp311."""
        kind = "pp" if self.implementation == "pypy" else "cp"
        major, minor = self.version.split(".")[:2]
        return f"{kind}{major}{minor}{'t' if self.free_threaded else ''}"


@functools.cache
def describe(python: Path) -> Interpreter:
    """Ask a Python about itself, once; the one that runs this needs no asking. Raises BadInput if it doesn't run."""
    fields = about_this_python() if python == Path(sys.executable) else _ask(python)
    executable, prefixes = Path(fields.pop("executable")), tuple(map(Path, fields.pop("prefixes")))
    return Interpreter(executable=executable, prefixes=prefixes, **fields)


def _ask(python: Path) -> dict[str, Any]:
    try:
        # -I -S: no package of that Python's has a say.
        command = [os.fspath(python), "-I", "-S", about_python.__file__]
        answer = subprocess.run(command, capture_output=True, check=True, timeout=60, text=True)
        return dict(json.loads(answer.stdout))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise BadInput(f"{python} does not run as a Python ({error}): name another one, or install it") from error
