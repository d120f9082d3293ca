"""Which index the pip of this host installs from: the default upstream of a fleet."""

import ast
import os
import subprocess
import sys
from collections.abc import Callable

from piwheels_builder.errors import BadInput

#: Where ``pip install`` looks for its index-url, strongest first (pip's user guide, "Configuration").
_KEYS = (":env:.index-url", "install.index-url", "global.index-url")
_SECONDS = 60


def pip_config_list() -> str:
    """What ``pip config list`` prints: environment and files with the precedence pip itself gives them. Raises BadInput."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]
    # A pip told to be quiet prints no list.
    environment = {name: value for name, value in os.environ.items() if name not in ("PIP_QUIET", "PIP_VERBOSE", "PIP_LOG")}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BadInput(f"pip does not tell its index-url ({error}): name the index as `upstream`") from error
    if done.returncode != 0:
        told = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BadInput(f"pip does not tell its index-url ({told}): mend pip's configuration, or name the index as `upstream`")
    return done.stdout


def configured_index(listing: Callable[[], str] = pip_config_list) -> str:
    """The index-url of this host's pip, never one of its extra-index-urls; pip's own default where none is set. Raises BadInput."""
    settings = dict(_setting(line) for line in listing().splitlines() if "=" in line)
    return next((settings[key] for key in _KEYS if settings.get(key)), None) or _default()


def _default() -> str:
    # It takes 15 MB and a second of a Pi to import, and most fleets say which index is theirs.
    from pypi_simple import PYPI_SIMPLE_ENDPOINT  # noqa: PLC0415

    return PYPI_SIMPLE_ENDPOINT


def _setting(line: str) -> tuple[str, str]:
    # pip prints each value as a Python string literal.
    key, _, value = line.partition("=")
    try:
        return key, str(ast.literal_eval(value))
    except (ValueError, SyntaxError):
        return key, ""
