"""A small fleet with something of everything that the site shows, and hostile words wherever a stranger's may stand."""

import gzip
from pathlib import Path

from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.condition import Condition
from piwheels_builder.db.connect import connected
from piwheels_builder.index.tree import open_tree
from piwheels_builder.site.refresh import SiteRules, refreshing
from piwheels_builder.states import Outcome
from tests.support.fleet import ARM64, BOOKWORM, TRIXIE, Fleet
from tests.support.published import IndexHost

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"' {{7*7}} \x1b[31m"
#: What the operator wants of the fleet below.
EVERYTHING = SiteRules(Policy("missing", None, None))


def refresh_site(host: IndexHost, rules: SiteRules = EVERYTHING) -> None:
    """What a publication does for the site, of whatever is due or was tried."""
    with connected(host.conninfo) as connection, open_tree(host.tree) as tree, refreshing(connection, tree, rules) as refresh:
        refresh.projects([project_id for (project_id,) in host.fleet.ask("SELECT project_id FROM project")])
        refresh.overview()


def furnish(host: IndexHost) -> None:
    """Projects that were published, failed, are skipped, are being built, wait, and are parked, for three targets."""
    fleet = host.fleet
    host.outbox.mkdir(exist_ok=True)
    fleet.add_builder("pi1", BOOKWORM, TRIXIE, ARM64, slots=4)
    fleet.add_builder("pi2", BOOKWORM, memory_mb=1000)
    fleet.add_builder("pi3", TRIXIE, ARM64, memory_mb=4000)
    for name in ("spidev", "rpi-gpio", "smbus2", "pyserial", "docopt", "rpi-lgpio", "gpiozero"):
        host.build(name, text=name)
    host.publish()
    for name, outcome, line in (
        ("lxml", Outcome.MISSING_HEADER, "fatal error: libxml/xmlversion.h: No such file or directory"),
        ("hostile", Outcome.BUILD_ERROR, HOSTILE),
        ("pillow", Outcome.COMPILE_ERROR, "error: command '/usr/bin/arm-linux-gnueabihf-gcc' failed with exit code 1"),
        ("greenlet", Outcome.COMPILE_ERROR, "src/greenlet/slp_switch.c:47: error: impossible constraint in 'asm'"),
    ):
        fail(host, name, outcome, line)
    _queue(fleet)


def fail(host: IndexHost, name: str, outcome: Outcome, line: str) -> int:
    """A release that does not build, and its log. Returns the attempt's number."""
    fleet = host.fleet
    build_id = fleet.want(name, BOOKWORM, priority=0)
    (leased,) = [row for row in fleet.lease_all("pi1") if row["build_id"] == build_id]
    fleet.ask(
        "SELECT record_attempt(%s, %s, %s, now() - interval '3 minutes', 161, 240000000, %s, 'the log', 'gcc 12.2', NULL, NULL,"
        " NULL, NULL, 'libxml/xmlversion.h', 100)",
        leased["lease_id"],
        build_id,
        outcome,
        line.replace("\x1b", ""),
        role="builder_pi1",
    )
    ((attempt_id,),) = fleet.ask("SELECT max(attempt_id) FROM attempt")
    fleet.ask("SELECT log_stored(%s, 'its log')", attempt_id, role="piwheels_publisher")
    words = [f"gcc -O2 -fPIC -Iinclude -c src/part{number}.c -o build/part{number}.o" for number in range(300)]
    write_log(host.tree / f"logs/{name[:2]}/{name}/{attempt_id}.log.gz", [*words, line, "error: subprocess exited with 1"])
    return int(attempt_id)


def write_log(place: Path, lines: list[str]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(gzip.compress("\n".join(lines).encode()))


def _queue(fleet: Fleet) -> None:
    """What is going on, what waits, what is parked, what is skipped."""
    going = fleet.want("numpy", BOOKWORM, seconds=5400, priority=0)
    fleet.lease_all("pi1")
    fleet.heartbeat("pi1", [going], Condition(83.2, 1_230_000_000, 3_977_601_024, True, False, 12_000_000_000))
    fleet.heartbeat("pi2", [])
    leader = fleet.want("scipy", BOOKWORM, seconds=9000, priority=1)
    fleet.want("scipy", TRIXIE, seconds=9000, priority=1, leader=leader)
    for number in range(12):
        fleet.want(f"waiting-{number}", BOOKWORM, seconds=100 + 40 * number, priority=2)
    parked = fleet.want("killer", ARM64, seconds=60)
    fleet.ask("UPDATE queue SET held = 'three builders died of it' WHERE build_id = %s", parked)
    skipped = fleet.want("pandas", TRIXIE)
    fleet.ask("SELECT skip_build(%s, 'the operator skips it: too large')", skipped, role="piwheels_dispatcher")
    fleet.ask(
        "INSERT INTO upstream_state (url, whole, asked_at, followed_at, behind, projects) VALUES ('u', true, now(), now(), 0, 40)"
    )
