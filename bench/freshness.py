"""From upstream to an installable wheel: how long a new release takes through a fleet of one, end to end.

    python -m bench.freshness [--minutes 10] [--releases 20] [--busy] [--json FILE]

A fleet of one as `make demo` provisions it, with a state directory and ports of its own, and an upstream on loopback. Rounds of
build.yml run as the timer of an index host runs them: one every `controller_every_seconds`, at once where one took longer. New pure
releases (real sdists, built in the sandbox; every other one of a project that is there already) appear at random moments. Each is
followed to the lease, to the builder, into the database, onto its page, and until `pip install` from our index alone has ended.

With --busy the builder has hours of back catalogue in its spool, and both slots at work, before the first one appears. Exit code 1
where a release took longer than two minutes to be leased, half of them longer than five to be installed, or one never was.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import yaml

from bench.followed import STAGES, Followed, Follower
from tests.rack.upstream import Release
from tests.support.trial import Played, Trial, trial_fleet
from tests.support.upstream import Upstream, serve_upstream

_ROOT = Path(__file__).parents[1]
LEASED_GOAL, INSTALLED_GOAL = 120.0, 300.0
#: Projects that are there before anything is measured, and releases of the back catalogue: more than two full spools.
_KNOWN, _BACKLOG = 20, 1500
#: How long one of the back catalogue takes.
_BACKLOG_SECONDS = 10.0
#: After the last release appeared, at most.
_PATIENCE = 900.0


@dataclass
class Rounds:
    """Rounds as the timer begins them, until told to stop. ``seconds`` are of each that ended."""

    fleet: Trial
    every: float
    seconds: list[float]
    ended: threading.Event
    failed: list[str]

    def run(self) -> None:
        """Rounds until ``ended`` is set."""
        while not self.ended.is_set():
            began = time.monotonic()
            self.one()
            self.ended.wait(max(0.0, began + self.every - time.monotonic()))

    def one(self) -> None:
        """A round; what a failing one said is kept."""
        began = time.monotonic()
        played = _play(self.fleet, "build.yml", fleet_converge="round")
        self.seconds.append(time.monotonic() - began)
        if played.exit_code:
            self.failed.append(played.output)


def main() -> int:
    """Measure, print the table, and judge."""
    options = _options()
    with serve_upstream() as upstream:
        _offer_known(upstream, busy=options.busy)
        with trial_fleet(fleet_projects="all", fleet_releases="all", fleet_upstream=upstream.url) as fleet:
            _must(fleet, "provision.yml")
            rounds = Rounds(fleet, _every(), [], threading.Event(), [])
            _warm_up(fleet, rounds, busy=options.busy)
            followed = _measure(fleet, upstream, rounds, options)
    _show(followed, rounds)
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in followed], indent=1))
    return _judged(followed, rounds)


def _offer_known(upstream: Upstream, *, busy: bool) -> None:
    upstream.etags = True
    for number in range(_KNOWN):
        _offer(upstream, Release(f"known-{number}", seconds=0.1), "2020-01-01T00:00:00Z")
    for number in range(_BACKLOG if busy else 0):
        _offer(upstream, Release("backlog", f"1.{number}", seconds=_BACKLOG_SECONDS), "2020-01-01T00:00:00Z")


def _offer(upstream: Upstream, release: Release, uploaded: str) -> None:
    upstream.add_file(release.project, release.filename, release.sdist(), **{"upload-time": uploaded})


def _play(fleet: Trial, playbook: str, **variables: object) -> Played:
    """As Trial.play, however long a busy machine takes."""
    running = fleet.start(playbook, **variables)
    output, _ = running.communicate()
    return Played(running.returncode, output)


def _must(fleet: Trial, playbook: str) -> None:
    played = _play(fleet, playbook)
    if played.exit_code:
        raise SystemExit(played.output)


def _every() -> float:
    """Seconds from the beginning of a round to that of the next one, on an index host."""
    return float(yaml.safe_load((_ROOT / "roles/controller/defaults/main.yml").read_text())["controller_every_seconds"])


def _warm_up(fleet: Trial, rounds: Rounds, *, busy: bool) -> None:
    """What is there is built, or in the spool until it is full: nobody is hungry any more."""
    if not busy:
        _must(fleet, "build.yml")
        return
    for _ in range(3):
        rounds.one()
        if rounds.failed:
            raise SystemExit(rounds.failed[0])
    rounds.seconds.clear()


def _measure(fleet: Trial, upstream: Upstream, rounds: Rounds, options: argparse.Namespace) -> list[Followed]:
    timer = threading.Thread(target=rounds.run)
    timer.start()
    with tempfile.TemporaryDirectory() as place:
        follower = Follower(
            fleet.index_url, f"host={fleet.state_dir}/database/run dbname=piwheels user=piwheels_reader", Path(place)
        )
        try:
            _add_at_random(upstream, follower, options)
            _wait(follower.finished, _PATIENCE)
        finally:
            rounds.ended.set()
            timer.join()
            followed = follower.stop()
    return followed


def _add_at_random(upstream: Upstream, follower: Follower, options: argparse.Namespace) -> None:
    """``releases`` within ``minutes``, at moments that know nothing of each other or of the rounds."""
    chance = random.Random(options.seed)
    moments = sorted(chance.uniform(0, 60 * options.minutes) for _ in range(options.releases))
    began = time.monotonic()
    for number, moment in enumerate(moments):
        time.sleep(max(0.0, began + moment - time.monotonic()))
        project, version = (f"known-{number % _KNOWN}", f"2.{number}") if number % 2 else (f"new-{number}", "1.0")
        release = Release(project, version, seconds=0.1)
        follower.follow(release.project, release.version, release.module)
        _offer(upstream, release, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.5)


def _show(followed: Sequence[Followed], rounds: Rounds) -> None:
    print(f"{len(followed)} releases, {len(rounds.seconds)} rounds of {_spread(rounds.seconds)}, one every {rounds.every:.0f} s")
    print("| stage | median s | longest s |\n|---|--:|--:|")
    for stage in STAGES:
        told = [seconds for each in followed if (seconds := stage.seconds(each)) is not None]
        if told:
            print(f"| {stage.name} | {median(told):.1f} | {max(told):.1f} |")
    for output in rounds.failed[:1]:
        print(f"{len(rounds.failed)} rounds failed, the first with\n{output[-3000:]}", file=sys.stderr)


def _spread(seconds: Sequence[float]) -> str:
    return f"{min(seconds):.0f} to {max(seconds):.0f} s (median {median(seconds):.0f})" if seconds else "no time"


def _judged(followed: Sequence[Followed], rounds: Rounds) -> int:
    missing = [each.project for each in followed if each.installed is None or each.leased is None]
    if missing or rounds.failed:
        print(f"never installed: {', '.join(missing) or 'none'}; rounds that failed: {len(rounds.failed)}")
        return 1
    slowest = max(each.leased - each.appeared for each in followed if each.leased is not None)
    usual = median(each.installed - each.appeared for each in followed if each.installed is not None)
    print(f"upstream -> leased: longest {slowest:.0f} s (goal {LEASED_GOAL:.0f})")
    print(f"upstream -> installed: median {usual:.0f} s (goal {INSTALLED_GOAL:.0f})")
    return 0 if slowest <= LEASED_GOAL and usual <= INSTALLED_GOAL else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="in which they appear (default: %(default)s)")
    parser.add_argument("--releases", type=int, default=20, help="how many (default: %(default)s)")
    parser.add_argument("--busy", action="store_true", help="the builder's spool is full of back catalogue")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write each release's moments (seconds since 1970)")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
