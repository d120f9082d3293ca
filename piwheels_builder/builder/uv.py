"""Runs uv outside the sandbox, so told that it runs nothing of what it handles."""

import functools
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uv

from piwheels_builder.builder.bare import with_us
from piwheels_builder.builder.disk import tree_bytes
from piwheels_builder.builder.ending import BuildEnded
from piwheels_builder.builder.growth import Growth
from piwheels_builder.builder.log import BuildLog
from piwheels_builder.builder.process import Runner
from piwheels_builder.builder.relay import Relay
from piwheels_builder.builder.sandbox import find_bwrap
from piwheels_builder.certificates import trusted_bundle
from piwheels_builder.errors import BadInput
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
#: Seconds. It unpacks while it reads: a slow disk that keeps it from reading for 30 s is no network that is away.
_PATIENT = {"UV_HTTP_TIMEOUT": "120"}
_OUTPUT_BYTES = 4 * 2**20
#: What uv's cache may hold on a disk; environments are copies and need it no more.
LARGEST_CACHE = 2**30
#: Found once, before there are threads: what sysconfig reads when it is first asked is half read for the second that asks.
_PROGRAM = uv.find_uv_bin()
_ASK_PIP = "from piwheels_builder.catalogue.pip_index import configured_index; print(configured_index(), end='')"
TOO_LARGE = "the build requirements unpack to more than a build may use"


@dataclass(frozen=True)
class Uv:
    """uv with a cache of its own, in front of one index: ``upstream``, or None for the one pip is configured with."""

    cache: Path
    upstream: str | None
    runner: Runner
    #: What one command may add to the cache, and an environment may take.
    most_bytes: int = 4 * 2**30
    #: Whether there is bubblewrap here.
    sandboxed: bool = True
    #: The most that the cache may hold, in bytes, before it is emptied.
    largest: int = LARGEST_CACHE
    #: In place of ``upstream``, where the index host stands between.
    relay: Relay | None = None

    def run(self, *arguments: str, log: BuildLog) -> int:
        """Run one uv command, its messages going into the log. Returns its exit code.

        Raises BuildEnded when it hangs, or unpacks more than it may: wheels can be bombs, too.
        """
        # By variable and not by argument: the index's URL may hold a password, and arguments are for everyone to see.
        environment = {**self._reaching(), **_PATIENT, "UV_CACHE_DIR": os.fspath(self.cache), "UV_DEFAULT_INDEX": self.index}
        command = [_PROGRAM, *arguments, "--no-config", "--no-python-downloads", "--no-progress", "--color", "never"]
        self.cache.mkdir(parents=True, exist_ok=True)
        watch = Growth(self.cache, self.largest + self.most_bytes)
        ended = self.runner(
            self.tied(command), environment=environment, output=log, seconds=_SECONDS, output_bytes=_OUTPUT_BYTES, watch=watch
        )
        if ended.stop and ended.stop.limit == "disk":
            raise BuildEnded(Outcome.DISK_LIMIT, TOO_LARGE, mechanism=ended.stop.mechanism)
        if ended.stop:
            raise BuildEnded(Outcome.NETWORK_AWAY, f"uv was not done after {_SECONDS} s")
        return ended.exit_code

    @property
    def index(self) -> str:
        """The index that is asked. Raises BadInput where it is pip's and cannot be told."""
        return self.relay.index if self.relay else self.upstream or _pips_index()

    def _reaching(self) -> dict[str, str]:
        if self.relay is None:
            return _inherited()
        # The index host is reached without a proxy, and knows us by our certificate.
        kept = {name: value for name, value in _inherited().items() if not name.lower().endswith("proxy") and name != "NETRC"}
        return {**kept, **self.relay.environment(self.cache.with_name("relay.pem"))}

    def tied(self, command: Sequence[str]) -> list[str]:
        """The command with all that it starts bound to this process: a builder that is killed leaves none of it running."""
        if not self.sandboxed:
            return with_us(command)
        return [os.fspath(find_bwrap()), "--dev-bind", "/", "/", "--unshare-pid", "--die-with-parent", "--", *command]

    def keep_small(self, log: BuildLog) -> None:
        """Empty the cache where it has grown too large, once no other uv uses it. Costs a walk through it, so call it seldom."""
        if tree_bytes(self.cache) > self.largest:
            self.run("cache", "clean", log=log)


def _inherited() -> dict[str, str]:
    trusted = {"SSL_CERT_FILE": bundle} if (bundle := trusted_bundle()) else {}
    names = (*_KEPT, *(name.lower() for name in _KEPT if name.endswith("PROXY")))
    return {**trusted, **{name: os.environ[name] for name in names if name in os.environ}}


@functools.cache
def _pips_index() -> str:
    """Raises BadInput."""
    # In a process of its own: what that imports would stay with the service, a quarter of its memory.
    asked = subprocess.run([sys.executable, "-c", _ASK_PIP], capture_output=True, text=True, check=False)
    if asked.returncode:
        told = (asked.stderr.strip().splitlines() or ["no message"])[-1]
        raise BadInput(f"which index pip is configured with can't be told ({told}): name it as fleet_upstream")
    return asked.stdout
