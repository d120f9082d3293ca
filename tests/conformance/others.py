"""Look at other index servers with the same suite and the same wheels, and print a table of what each does not do.

    python -m tests.conformance.others [--keep DIRECTORY]

Installs them from the upstream index into an environment of its own, with uv. Exit code 1 where our own index fails anything.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.http_client import Client
from tests.support.published import free_port, make_wheel

HERE = Path(__file__).parent
PROJECTS = ("demo-a", "broken", "old")
#: What is installed, and how it is started: {bin}, {wheels} and {port} are filled in.
SERVERS: Mapping[str, Sequence[str]] = {
    "pypiserver": ("{bin}/pypi-server", "run", "--disable-fallback", "-i", "127.0.0.1", "-p", "{port}", "{wheels}"),
    "simple-repository-server": ("{bin}/simple-repository-server", "--host", "127.0.0.1", "--port", "{port}", "{wheels}"),
}
LEVELS = ("must", "should", "house")
_RANK = ("skipped", "passed", "failed")


@dataclass
class Tally:
    """A plugin of pytest: each test's level, and its worst outcome over its parameters."""

    levels: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            self.levels[_name(item.nodeid)] = next(level for level in LEVELS if item.get_closest_marker(level))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            name, before = _name(report.nodeid), self.outcomes.get(_name(report.nodeid), "skipped")
            self.outcomes[name] = max(before, report.outcome, key=_RANK.index)

    def count(self, level: str, outcome: str) -> int:
        return sum(self.outcomes[name] == outcome and self.levels[name] == level for name in self.outcomes)


def _name(nodeid: str) -> str:
    return nodeid.rpartition("::")[2].partition("[")[0].removeprefix("test_")


def looked_at(*arguments: str) -> Tally:
    """Run the suite with these options, saying nothing but what fails."""
    tally = Tally()
    pytest.main([str(HERE), "-q", "--tb=no", "--no-header", "-rN", *arguments], plugins=[tally])
    return tally


@contextmanager
def serving(command: Sequence[str], place: Path) -> Iterator[str]:
    """A server over the wheels in ``place``; yields its index URL."""
    port = free_port()
    filled = [part.format(bin=place / "venv/bin", wheels=place / "wheels", port=port) for part in command]
    process = subprocess.Popen(filled, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}/simple/"
        _wait_for(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            Client(url).get("/simple/")
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def install(place: Path) -> None:
    """The servers, and a directory of wheels for each project."""
    uv = str(Path(sys.executable).with_name("uv"))
    if not (place / "venv").exists():
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(place / "venv")], check=True)
    subprocess.run([uv, "pip", "install", "-q", "--python", str(place / "venv/bin/python"), *SERVERS], check=True)
    for project in PROJECTS:
        make_wheel(place / "wheels" / project, project, requires_python=">=3.8,<4")


def table(tallies: Mapping[str, Tally]) -> str:
    """In Markdown: for each server how many passed of each level, then every test that somebody fails."""
    ours = next(iter(tallies.values()))
    lines = ["| | " + " | ".join(tallies) + " |", "|---" * (len(tallies) + 1) + "|"]
    for level in LEVELS:
        counts = (f"{t.count(level, 'passed')} of {t.count(level, 'passed') + t.count(level, 'failed')}" for t in tallies.values())
        lines.append(f"| {level} | " + " | ".join(counts) + " |")
    for name, level in sorted(ours.levels.items(), key=lambda item: (LEVELS.index(item[1]), item[0])):
        outcomes = [tally.outcomes.get(name, "skipped") for tally in tallies.values()]
        if "failed" in outcomes:
            shown = {"passed": "yes", "failed": "**no**", "skipped": "-"}
            lines.append(f"| {name} ({level}) | " + " | ".join(shown[outcome] for outcome in outcomes) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.others", description=__doc__)
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY", help="install there, and again use what is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = options.keep or Path(temporary)
        install(place)
        tallies = {"this index": looked_at()}
        projects = [part for project in PROJECTS for part in ("--project", project)]
        for name, command in SERVERS.items():
            with serving(command, place) as url:
                tallies[name] = looked_at("--index-url", url, *projects)
    print(table(tallies))
    return int("failed" in tallies["this index"].outcomes.values())


if __name__ == "__main__":
    sys.exit(main())
