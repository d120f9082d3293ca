"""Inside the machine of bench/netboot_root.py: builds the same releases with the builder's directories in different places.

Prints a line of JSON for each placement and each time that all releases were built.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import yaml

from piwheels_builder.builder.interpreter import describe
from piwheels_builder.builder.spool import write_batch
from piwheels_builder.builder.trial import this_target
from piwheels_builder.queue.batch import Batch, LeasedBuild, Sdist

PYTHON = Path("/usr/bin/python3")
STATE = Path("/var/lib/piwheels-builder/builder")
CACHES = Path("/run/piwheels")
PATIENCE = 1500


def main() -> None:
    plan = json.loads(Path("/bench/plan.json").read_text())
    for placement in plan["placements"]:
        measure(placement, plan["releases"], plan["index"])


def measure(placement: dict[str, Any], releases: list[dict[str, Any]], index: str) -> None:
    """One placement: all releases with nothing there, then once more with their environments."""
    shutil.rmtree(STATE, ignore_errors=True)
    STATE.mkdir(parents=True)
    prepare_memory(placement)
    service = start(placement, index)
    try:
        for again in (False, True):
            forget()
            before = rpcs()
            seconds, outcomes = build_all(releases)
            passed = [after - least for after, least in zip(rpcs(), before, strict=True)]
            counted = dict(zip(("calls", "sent", "received", "milliseconds"), passed, strict=True))
            say(name=placement["name"], again=again, seconds=seconds, outcomes=outcomes, **counted)
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(60)
        subprocess.run(["umount", CACHES], check=False, stderr=subprocess.DEVNULL)


def prepare_memory(placement: dict[str, Any]) -> None:
    """The sizes that role builder's unit, and role netboot_client's mount, give."""
    subprocess.run(["mount", "-o", f"remount,size={placement['shm_mb']}M", "/dev/shm"], check=True)  # noqa: S108
    if placement["caches_mb"]:
        CACHES.mkdir(exist_ok=True)
        options = f"size={placement['caches_mb']}M,mode=0755,nosuid,nodev,noatime"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", CACHES], check=True)


def start(placement: dict[str, Any], index: str) -> "subprocess.Popen[bytes]":
    target = this_target(describe(PYTHON))
    settings = {
        "name": "bench",
        "database": "host=/nonexistent dbname=nobody user=nobody",
        "state_dir": str(STATE),
        "pythons": {target.python: str(PYTHON)},
        "architecture": target.architecture,
        "os_release": target.os_release,
        "slots": 1,
        "upstream": index,
        "first_build_uid": 90001,
        **placement["settings"],
    }
    (STATE / "builder.yml").write_text(yaml.safe_dump(settings))
    temporary = {"TMPDIR": str(CACHES)} if placement["caches_mb"] else {}
    command = [sys.executable, "-m", "piwheels_builder.cli", "serve", "--settings", str(STATE / "builder.yml")]
    log = (STATE / "log.txt").open("ab")
    process = subprocess.Popen(command, env={**os.environ, **temporary}, stdout=log, stderr=log)
    wait_until((STATE / "status.json").exists, process)
    return process


def build_all(releases: list[dict[str, Any]]) -> tuple[dict[str, float], dict[str, str]]:
    """Of each release the seconds that its attempt took and its outcome, by its name."""
    lease = uuid4()
    batch = Batch(lease, "bench", tuple(leased(number, release) for number, release in enumerate(releases, 1)))
    write_batch(STATE / "spool", batch)
    results = [result(lease, number) for number in range(1, len(releases) + 1)]
    names = [f"{release['project']} {release['version']}" for release in releases]
    seconds = dict(zip(names, (each["seconds"] for each in results), strict=True))
    return seconds, dict(zip(names, (each["outcome"] for each in results), strict=True))


def leased(number: int, release: dict[str, Any]) -> LeasedBuild:
    fields = {**release["sdist"], "upload_time": datetime.fromisoformat(release["sdist"]["upload_time"])}
    return LeasedBuild(number, release["project"], release["version"], this_target(describe(PYTHON)), Sdist(**fields), 60.0)


def result(lease: UUID, number: int) -> dict[str, Any]:
    path = STATE / "outbox" / f"{lease}-{number}" / "result.json"
    wait_until(path.exists)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def wait_until(there: Any, process: "subprocess.Popen[bytes] | None" = None) -> None:
    deadline = time.monotonic() + PATIENCE
    while not there():
        if time.monotonic() > deadline or (process and process.poll() is not None):
            print((STATE / "log.txt").read_text()[-3000:], flush=True)
            raise SystemExit("it did not come about")
        time.sleep(0.5)


def forget() -> None:
    """Sdists, and what this kernel remembers of the file server's files."""
    for caches in (STATE, CACHES):
        shutil.rmtree(caches / "cache/sdists", ignore_errors=True)
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def rpcs() -> list[int]:
    """Of NFS since the machine started: calls, bytes sent, bytes received, milliseconds until the answers (nfsiostat(8))."""
    lines = Path("/proc/self/mountstats").read_text().partition("per-op statistics")[2].splitlines()
    numbers = [list(map(int, line.partition(":")[2].split())) for line in lines if ":" in line]
    counted = [each for each in numbers if len(each) > 6]
    return [sum(each[place] for each in counted) for place in (0, 3, 4, 6)]


def say(**found: Any) -> None:
    print(f"bench: {json.dumps(found)}", flush=True)


if __name__ == "__main__":
    main()
