"""With what a build was made, in one line: so that failures can be asked for by it."""

import functools
import subprocess

from piwheels_builder.builder.interpreter import Interpreter
from piwheels_builder.targets import Target

_COMPILERS = ("gcc", "g++", "rustc")


def fingerprint(target: Target, python: Interpreter, environment_key: str) -> str:
    """For example ``bookworm armv7l; gcc 12.2.0; cpython 3.11.2; requirements 0123456789abcdef``."""
    interpreter = f"{python.implementation} {python.version}"
    return "; ".join([f"{target.os_release} {target.architecture}", *_compilers(), interpreter, f"requirements {environment_key}"])


@functools.cache
def _compilers() -> tuple[str, ...]:
    """Name and version of each compiler there is; asked once for the life of the process."""
    return tuple(f"{name} {version}" for name in _COMPILERS if (version := _version(name)))


def _version(compiler: str) -> str | None:
    option = "--version" if compiler == "rustc" else "-dumpfullversion"
    try:
        answer = subprocess.run([compiler, option], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip().removeprefix("rustc ").partition(" ")[0]
