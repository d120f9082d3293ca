"""Which versions of its build requirements a build gets."""

import hashlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from piwheels_builder.builder.disk import write_atomically
from piwheels_builder.builder.ending import BuildEnded
from piwheels_builder.builder.interpreter import Interpreter
from piwheels_builder.builder.log import BuildLog
from piwheels_builder.builder.uv import Uv
from piwheels_builder.states import Blame, Outcome
from piwheels_builder.triage.requirements import missing_requirement

#: A resolution is used again for this many seconds, then upstream is asked what is new.
FRESH = 3600
_MOST_KEPT = 2000
#: What uv prints, and the outcome it means; the first that is found counts. All words of uv 0.9 to 0.13 (tested).
_FAILURES = (
    # uv finds no solution either where the disk, a page or a wheel's bytes failed it: that says nothing of the requirement.
    (("No space left on device", "Disk quota exceeded"), Outcome.DISK_FULL),
    (("invalid package format", "returned a 401", "returned a 403", "returned a 407"), Outcome.NETWORK_AWAY),
    (("building from source is disabled", "no usable wheels", "has no wheels with a matching"), Outcome.REQUIREMENT_WITHOUT_WHEEL),
    (("No solution found", "was not found in the package registry"), Outcome.REQUIREMENT_UNAVAILABLE),
    (("Failed to fetch", "error sending request", "Request failed", "HTTP status", "operation timed out"), Outcome.NETWORK_AWAY),
    # A wheel that uv refuses: a program named python, a name that climbs out of the environment.
    (("Failed to install:",), Outcome.REQUIREMENT_UNAVAILABLE),
)


@dataclass(frozen=True)
class Resolution:
    """``pins`` are lines ``name==version``, sorted: everything that goes into the environment."""

    pins: tuple[str, ...]

    @property
    def versions(self) -> dict[str, str]:
        """Version of each normalized name."""
        parsed = map(Requirement, self.pins)
        return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in parsed}


@dataclass(frozen=True)
class Resolver:
    """Remembers resolutions in ``cache``; ``scratch`` is a directory for files of one build.

    ``as_of``: what upstream got later is not there. Needs an upstream that tells upload times (PEP 700).
    """

    uv: Uv
    cache: Path
    scratch: Path
    as_of: date | None = None

    def resolve(self, requirements: Iterable[str], python: Interpreter, log: BuildLog) -> Resolution:
        """Raises BuildEnded (requirement_unavailable, requirement_without_wheel, network_away, ...) and OSError."""
        wanted = sorted(set(requirements))
        if not wanted:
            return Resolution(())
        key = "\n".join([*wanted, python.identity, self.uv.relay.url if self.uv.relay else self.uv.upstream or "", f"{self.as_of}"])
        remembered = self.cache / _digest(key)
        if _is_fresh(remembered) and (known := _recall(remembered)):
            return known
        resolution = self._ask(wanted, python, log)
        self.cache.mkdir(parents=True, exist_ok=True)
        pins = "\n".join(resolution.pins)
        write_atomically(remembered, f"{_digest(pins)}\n{pins}")
        _forget_old(self.cache)
        return resolution

    def _ask(self, wanted: list[str], python: Interpreter, log: BuildLog) -> Resolution:
        asked, answered = self.scratch / "requirements.in", self.scratch / "requirements.txt"
        asked.write_text("\n".join(wanted) + "\n", encoding="utf-8")
        answered.unlink(missing_ok=True)
        since = log.size()
        how = ["--no-build", "--no-header", "--no-annotate", "--python", os.fspath(python.executable)]
        if self.as_of:
            how += ["--exclude-newer", f"{self.as_of}T00:00:00Z"]
        code = self.uv.run("pip", "compile", *how, "--output-file", os.fspath(answered), os.fspath(asked), log=log)
        if code:
            raise uv_failure(log.text(since))
        return _read(answered)


def uv_failure(said: str) -> BuildEnded:
    """What it means that uv failed, by its messages."""
    line = next((line.strip() for line in said.splitlines() if "cause:" in line or "error:" in line), "uv said nothing")
    because = [line.partition("cause:")[2].strip() for line in said.splitlines() if "cause:" in line]
    for words, outcome in _FAILURES:
        if any(word in said for word in words):
            missing = missing_requirement(said) if outcome.blame is Blame.RELEASE else None
            return BuildEnded(outcome, " ".join(because[:2]) or line, missing=missing)
    return BuildEnded(Outcome.BUILDER_FAULT, f"uv failed: {line}")


def _read(path: Path) -> Resolution:
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return Resolution(tuple(sorted(line for line in lines if line and not line.startswith("#"))))


def _recall(path: Path) -> Resolution | None:
    """What was remembered, below its digest; None where a bad disk or a power cut has changed it."""
    digest, _, pins = path.read_text(encoding="utf-8", errors="replace").partition("\n")
    return Resolution(tuple(pins.splitlines())) if digest == _digest(pins) else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _is_fresh(path: Path) -> bool:
    try:
        # A clock that was set back must not keep a resolution for ever.
        return abs(time.time() - path.stat().st_mtime) < FRESH
    except FileNotFoundError:
        return False


def _forget_old(cache: Path) -> None:
    entries = list(os.scandir(cache))
    if len(entries) > _MOST_KEPT:
        for entry in entries:
            if not _is_fresh(Path(entry.path)):
                Path(entry.path).unlink(missing_ok=True)
