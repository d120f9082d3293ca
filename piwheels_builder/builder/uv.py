"""Runs uv outside the sandbox, so told that it runs nothing of what it handles."""

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import uv

from piwheels_builder.builder.ending import BuildEnded
from piwheels_builder.builder.log import BuildLog
from piwheels_builder.builder.process import Runner
from piwheels_builder.states import Outcome

#: What uv gets of our environment: where things are, how to reach the network, whom to trust. Never UV_*, never PIP_*.
_KEPT = (
    "PATH",
    "HOME",
    "LANG",
    "TMPDIR",
    "NETRC",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
)
_SECONDS = 900
_OUTPUT_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Uv:
    """uv with a cache of its own, in front of one index: ``upstream``, or None for the one pip is configured with."""

    cache: Path
    upstream: str | None
    runner: Runner

    def run(self, *arguments: str, log: BuildLog) -> int:
        """Run one uv command, its messages going into the log. Returns its exit code. Raises BuildEnded when it hangs."""
        # By variable and not by argument: the index's URL may hold a password, and arguments are for everyone to see.
        environment = {**_inherited(), "UV_CACHE_DIR": os.fspath(self.cache), "UV_DEFAULT_INDEX": self.upstream or _pips_index()}
        command = [uv.find_uv_bin(), *arguments, "--no-config", "--no-python-downloads", "--no-progress", "--color", "never"]
        ended = self.runner(command, environment=environment, output=log, seconds=_SECONDS, output_bytes=_OUTPUT_BYTES)
        if ended.stop:
            raise BuildEnded(Outcome.NETWORK_AWAY, f"uv was not done after {_SECONDS} s")
        return ended.exit_code


def _inherited() -> dict[str, str]:
    names = (*_KEPT, *(name.lower() for name in _KEPT if name.endswith("PROXY")))
    return {name: os.environ[name] for name in names if name in os.environ}


@functools.cache
def _pips_index() -> str:
    # What it imports takes longer than many a build, and a builder with settings never needs it.
    from piwheels_builder.catalogue.pip_index import configured_index  # noqa: PLC0415

    return configured_index()
