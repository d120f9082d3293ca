"""Bounds runs by a delegated control group, for real: memory, processes, and that the next run is untouched. Standard library only.

Runs as a service with Delegate=yes. Prints a line for each thing that held, and ends with an error at the first that didn't.
"""

import io
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from piwheels_builder.builder.cgroup import Group
from piwheels_builder.builder.limits import Limits
from piwheels_builder.builder.process import Ended, Stop, run
from piwheels_builder.builder.watch import bounding_group, watch_for
from piwheels_builder.states import Outcome
from piwheels_builder.triage.classify import classify

MB = 2**20
LIMITS = Limits(memory_bytes=100 * MB, processes=40)
SANDBOX = ("bwrap", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--unshare-pid", "--die-with-parent", "--")
#: Each of five processes keeps within the limit, and bounds itself.
MEMORY_BOMB = """
import os, time
for _ in range(4):
    if not os.fork(): break
held = [os.urandom(1 << 20) for _ in range(60)]
time.sleep(20)
"""
FORK_BOMB = """
import os, signal
signal.alarm(60)
while True:
    try: os.fork()
    except OSError: pass
"""
HIDDEN = "import os, time; fd = os.memfd_create('x'); [os.write(fd, bytes(1 << 20)) for _ in range(200)]; time.sleep(20)"


def main() -> None:
    who = "root" if os.geteuid() == 0 else "an ordinary user"
    base = bounding_group()
    told(f"{who}: systemd delegated {base}", base is not None)
    assert base is not None
    told(f"{who}: the service is in its leaf", Path("/proc/self/cgroup").read_text().rstrip().endswith("/service"))
    for name, program in (("five processes of 60 MB", MEMORY_BOMB), ("a file of 200 MB in memory", HIDDEN)):
        ended, outcome = bounded(program)
        held = (ended.stop, outcome) == (Stop("memory", "cgroup"), Outcome.OUT_OF_MEMORY)
        told(f"{who}: {name} under a limit of 100 MB: {outcome} by {ended.stop}", held)
    ended, outcome = bounded(FORK_BOMB)
    told(f"{who}: a fork bomb under a limit of 40: {outcome} by {ended.stop}", ended.stop == Stop("processes", "cgroup"))
    ended, _ = bounded("held = bytearray(30 << 20); held[::4096] = bytes(len(held[::4096])); import time; time.sleep(1)")
    told(f"{who}: the next run is untouched: {ended}", is_untouched(ended))
    ended, _ = bounded("import time; time.sleep(60)", stall_seconds=2)
    told(f"{who}: a sleeper: {ended.stop}", ended.stop == Stop("stalled", "watcher"))
    told(f"{who}: an admitted process is bounded", admitted(base))
    left = [path.name for path in base.iterdir() if path.is_dir()]
    told(f"{who}: of the groups only the service's is left", left == ["service"])


def bounded(program: str, **limits: float) -> tuple[Ended, Outcome]:
    output = io.BytesIO()
    with tempfile.TemporaryDirectory() as place:
        asked = replace(LIMITS, **limits)  # type: ignore[arg-type]
        ended = run(
            [*SANDBOX, sys.executable, "-c", program],
            environment={"PATH": os.environ["PATH"]},
            output=output,
            seconds=120,
            output_bytes=10**6,
            watch=watch_for(asked, slot=0, directories=[Path(place)]),
        )
    print(output.getvalue().decode(errors="replace")[-1000:])
    return ended, classify(output.getvalue().decode(errors="replace"), ended).outcome


def is_untouched(ended: Ended) -> bool:
    return (ended.exit_code, ended.stop) == (0, None) and 25 * MB < (ended.peak_memory or 0) < 60 * MB


def admitted(base: Path) -> bool:
    """A process that waits for its go, as a warm parent's child does, is killed at the limit."""
    group = Group(base, 1, LIMITS)
    go, gone = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(go, 1)
        held = [os.urandom(MB) for _ in range(150)]
        time.sleep(20)
        os._exit(len(held) > 0)
    group.admit(child)
    os.write(gone, b"x")
    _, status = os.waitpid(child, 0)
    ended = group.end(Ended(-os.WTERMSIG(status)))
    return ended == Ended(-9, Stop("memory", "cgroup"), LIMITS.memory_bytes)


def told(what: str, held: bool) -> None:
    print(f"proof: {what}: {'yes' if held else 'NO'}", flush=True)
    if not held:
        sys.exit(1)


if __name__ == "__main__":
    main()
