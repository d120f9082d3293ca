"""Faults that need a stage: full disks of others, clocks, old images, clones, and an index host away for longer than a lease."""

import re
import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.rack.blows import told
from tests.rack.scene import Act, Scene, soon

SERVICE = "piwheels-builder.service"
POSTGRESQL = "postgresql@15-main.service"
#: Seconds that a lease lasts where an index host is away for longer.
LEASE = 20
_BUILDER = "/var/lib/piwheels-builder/builder"
_SETTINGS = "/etc/piwheels-builder/builder.yml"


# The controller's disk


def fill_controller(scene: Scene) -> None:
    """A run that has no free byte for its temporary files and sockets."""
    place = Path(tempfile.mkdtemp(prefix="rack-full-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=True)
    (place / "ballast").write_bytes(bytes(65536))
    scene.controller.environment = {"ANSIBLE_HOME": str(place), "TMPDIR": str(place)}
    scene.controller.restart()
    assert scene.controller.wait(60) != 0, "it does without its disk"


def free_controller(scene: Scene) -> None:
    """Its own disk again."""
    place = scene.controller.environment["TMPDIR"]
    scene.controller.environment.clear()
    subprocess.run(["umount", place], check=True)
    Path(place).rmdir()


# The database's disk

_PLACE = "/var/lib/postgresql"
_TO_A_SMALL_DISK = f"""
set -e
systemctl stop {POSTGRESQL}
mount -t tmpfs -o size=$(( $(du -sm {_PLACE} | cut -f1) + 64 ))m,mode=755 small /mnt
cp -a {_PLACE}/. /mnt/
mount --bind /mnt {_PLACE}
systemctl start {POSTGRESQL}
"""
_AND_BACK = f"""
set -e
systemctl stop {POSTGRESQL}
umount {_PLACE}
find {_PLACE} -mindepth 1 -delete
cp -a /mnt/. {_PLACE}/
umount /mnt
systemctl start {POSTGRESQL}
"""
#: Every commit needs a segment of its log sooner or later.
_ASK_MUCH = "CREATE TABLE much AS SELECT generate_series(1, 500000); SELECT pg_switch_wal(); DROP TABLE much;"


def move_database_to_a_small_disk(scene: Scene) -> None:
    """Where the fault can fill it without harm to anything else."""
    scene.index.must("sh", "-c", _TO_A_SMALL_DISK)


def move_database_back(scene: Scene) -> None:
    """To where it was."""
    scene.index.must("sh", "-c", _AND_BACK)


def fill_database(scene: Scene) -> None:
    """Leave no free byte, and have the database find out."""
    scene.index.run("sh", "-c", f"cat /dev/zero > {_PLACE}/ballast")
    errors = [scene.index.run("runuser", "-u", "postgres", "--", "psql", "-qAt", stdin=_ASK_MUCH).errors for _ in range(3)]
    assert any("No space left" in error or "connection to server" in error for error in errors), errors


def free_database(scene: Scene) -> None:
    """Give the bytes back, and start the server where it gave up."""
    scene.index.must("rm", f"{_PLACE}/ballast")
    scene.index.must("systemctl", "start", POSTGRESQL)


# A builder's clock

_CLOCK = "/etc/piwheels-builder/clock"
_LIBRARY = "/usr/local/lib/clock.so"
_DROP_IN = f"/run/systemd/system/{SERVICE}.d/clock.conf"
_OWN_CLOCK = f"""
set -e
cc -shared -fPIC -O1 -o {_LIBRARY} -x c -
echo 0 > {_CLOCK}
mkdir -p $(dirname {_DROP_IN})
printf '[Service]\\nEnvironment=LD_PRELOAD={_LIBRARY} CLOCK_OFFSET={_CLOCK}\\n' > {_DROP_IN}
systemctl daemon-reload
systemctl restart {SERVICE}
"""
_WHEN_BEGUN = f'grep -rhoE \'"started_at": ?"[^"]+"\' {_BUILDER}/spool/begun {_BUILDER}/outbox'


def own_clock(scene: Scene) -> None:
    """The hosts share this machine's clock: the service of one gets its own."""
    scene.builder.must("sh", "-c", _OWN_CLOCK, stdin=Path(__file__).with_name("clock.c").read_text())


def real_clock(scene: Scene) -> None:
    """This machine's clock again."""
    scene.builder.must("sh", "-c", f"rm -f {_DROP_IN} {_CLOCK} {_LIBRARY}; systemctl daemon-reload; systemctl restart {SERVICE}")


def set_clock(days: int) -> Act:
    """Have the clock jump. Where it jumps away, a build begins in another time."""

    def act(scene: Scene) -> None:
        scene.builder.must("sh", "-c", f"echo {86400 * days} > {_CLOCK}.new && mv {_CLOCK}.new {_CLOCK}")
        if days:
            soon(lambda: _begins_in_another_time(scene), "no build begins in another time", 20)

    return act


def _begins_in_another_time(scene: Scene) -> bool:
    said = re.findall(r'"([0-9][^"]+)"', scene.builder.run("sh", "-c", _WHEN_BEGUN).output)
    return any(abs(datetime.now(UTC) - datetime.fromisoformat(when)) > timedelta(days=1) for when in said)


# An old image


def keep_image(scene: Scene) -> None:
    """Copy the builder's disks before the run."""
    scene.builder.keep_image()
    scene.builder.start()
    scene.builder.wait()
    soon(lambda: told(scene.builder, SERVICE, "ActiveState") == "active", "its service does not start", 60)


def restore_image(scene: Scene) -> None:
    """Its disks are what they were before the run: it knows nothing of its leases, and its wheels are gone."""
    scene.builder.must("touch", f"{_BUILDER}/after-the-copy")
    scene.builder.restore_image()
    scene.builder.start()
    scene.builder.wait()
    assert scene.builder.run("test", "-e", f"{_BUILDER}/after-the-copy").status == 1, "its disks are the new ones"


# Two hosts of one name

_CLONE = "piwheels-clone.service"
#: As it stands, in the middle of its work, with other places and users: it runs on the same machine.
_MAKE_CLONE = f"""
set -e
cp -a /etc/piwheels-builder /etc/clone
# It builds meanwhile: files go away while they are copied.
cp -a {_BUILDER} {_BUILDER}-clone 2>/dev/null || test -d {_BUILDER}-clone/spool
sed -i 's,{_BUILDER}"\\?$,{_BUILDER}-clone",; s,^first_build_uid: .*,first_build_uid: 90101,' /etc/clone/builder.yml
program=$(systemctl show --property=ExecStart --value {SERVICE} | sed 's/.*path=\\([^ ]*\\) .*/\\1/')
systemd-run --quiet --unit={_CLONE} --property=KillMode=mixed --setenv=PATH=$(dirname $program):/usr/bin:/bin:/usr/sbin \\
    $program serve --settings /etc/clone/builder.yml
"""


def clone(scene: Scene) -> None:
    """Somebody copies a builder's card and starts both: the fleet notices, and believes neither."""
    scene.builder.must("sh", "-c", _MAKE_CLONE)
    soon(lambda: _standing(scene) == "quarantined", "nobody notices", 60)


def remove_clone(scene: Scene) -> None:
    """Nothing is left of it."""
    scene.builder.run("systemctl", "stop", _CLONE)
    scene.builder.must("sh", "-c", f"rm -rf /etc/clone {_BUILDER}-clone; systemctl reset-failed {_CLONE} 2>/dev/null || true")


def resume(scene: Scene) -> None:
    """The operator takes the clone away, and believes the other one again."""
    remove_clone(scene)
    _operate(scene, "resume", scene.builder.name)
    _go_on(scene)


def distrust(scene: Scene) -> None:
    """The operator takes the clone away, and believes nothing that either said in the last hour."""
    remove_clone(scene)
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    _operate(scene, "distrust", scene.builder.name, "--since", since, "--reason", "there were two")
    _operate(scene, "resume", scene.builder.name)
    _go_on(scene)


def _operate(scene: Scene, *words: str) -> None:
    scene.index.must("/opt/piwheels-builder/venv/bin/piwheels-builder", *words)


def _go_on(scene: Scene) -> None:
    scene.fleet.ask("DELETE FROM incident")
    scene.builder.restart_service(SERVICE)
    scene.controller.restart()


def _standing(scene: Scene) -> str:
    (builder,) = (each for each in scene.fleet.builders() if each["name"] == scene.builder.name)
    return str(builder["standing"])


# An index host that is away for longer than a lease

#: How many results the database does not know of.
_UNRECORDED = f"for entry in {_BUILDER}/outbox/*-*/; do [ -e $entry/recorded ] || echo; done | wc -l"
_SHORT = f"sed -i.usual 's/^lease_seconds: .*/lease_seconds: {LEASE}\\nheartbeat_seconds: 5/' {_SETTINGS}"


def short_leases(scene: Scene) -> None:
    """Builders ask for leases of seconds, and speak often."""
    for host in scene.builders:
        host.must("sh", "-c", f"{_SHORT} && systemctl restart {SERVICE}")


def usual_leases(scene: Scene) -> None:
    """As they are provisioned."""
    for host in scene.builders:
        host.must("sh", "-c", f"mv {_SETTINGS}.usual {_SETTINGS} && systemctl restart {SERVICE}")


def after_the_lease(back: Act) -> Act:
    """The index host comes back when leases have expired under which builders have something to say."""

    def act(scene: Scene) -> None:
        waiting = [host.run("sh", "-c", _UNRECORDED).output.strip() for host in scene.builders]
        assert any(int(number) for number in waiting), f"no builder has anything to say: {waiting}"
        back(scene)

    return act


_HOURS_PASS = """
    UPDATE builder SET last_seen_at = last_seen_at - interval '5 hours';
    UPDATE queue SET expires_at = expires_at - interval '5 hours' WHERE lease_id IS NOT NULL;
    SELECT count(*) FROM queue WHERE lease_id IS NOT NULL AND expires_at < now()
"""


def hours_later(back: Act) -> Act:
    """The index host has been alone for hours, with its database and its own rounds, which look for expired leases."""

    def act(scene: Scene) -> None:
        assert scene.fleet.ask(_HOURS_PASS), "nothing is leased"
        scene.fleet.ask("SELECT to_json(reclaim_leases('1 second'))")
        after_the_lease(back)(scene)

    return act
