"""What the builder has to know about a Python it builds for."""

import functools
import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from piwheels_builder.errors import BadInput

#: Runs with -I -S, so that no package of that Python's has a say. platlibdir and the like all lie below the prefixes.
_ASK = """
import json, platform, struct, sys, sysconfig
print(json.dumps({
    "executable": getattr(sys, "_base_executable", None) or sys.executable,
    "prefixes": sorted({sys.base_prefix, sys.base_exec_prefix}),
    "version": platform.python_version(),
    "implementation": sys.implementation.name,
    "abi": sysconfig.get_config_var("SOABI") or sysconfig.get_config_var("EXT_SUFFIX"),
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "bits": struct.calcsize("P") * 8,
}))
"""


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
    """Ask a Python about itself, once. Raises BadInput if it doesn't run."""
    try:
        answer = subprocess.run([python, "-I", "-S", "-c", _ASK], capture_output=True, check=True, timeout=60, text=True)
        fields = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise BadInput(f"{python} does not run as a Python ({error}): name another one, or install it") from error
    executable, prefixes = Path(fields.pop("executable")), tuple(map(Path, fields.pop("prefixes")))
    return Interpreter(executable=executable, prefixes=prefixes, **fields)
