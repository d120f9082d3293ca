"""Blows at publications: processes that live for a second, several times in a run."""

from concurrent.futures import ThreadPoolExecutor

from tests.rack.playbooks import play
from tests.rack.scene import Act, Scene

#: Publications that are struck in a run, and seconds that they are waited for.
_TIMES, _SECONDS = 3, 30
#: Runs on the index host. A process that has a workshop in the published tree open publishes; each is struck at another moment.
_STRIKE = """
import os, pwd, random, signal, sys, time
name, times, until = sys.argv[1], int(sys.argv[2]), time.monotonic() + float(sys.argv[3])
user = pwd.getpwnam("piwheels-publisher").pw_uid

def publishes(pid):
    try:
        if os.stat(f"/proc/{pid}").st_uid != user:
            return False
        return any("/published/.publishing/" in os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return False

struck = set()
while len(struck) < times and time.monotonic() < until:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if pid not in struck and publishes(pid):
            time.sleep(random.uniform(0, 0.15))
            if publishes(pid):
                os.kill(int(pid), getattr(signal, "SIG" + name))
                struck.add(pid)
    time.sleep(0.01)
print(len(struck))
"""


def strike(name: str) -> Act:
    """Send a signal to publications, each in the middle of its work."""

    def act(scene: Scene) -> None:
        words = ("python3", "-c", _STRIKE, name, str(_TIMES), str(_SECONDS))
        struck = int(scene.index.must(*words, seconds=_SECONDS + 10))
        assert struck, f"nothing was being published for {_SECONDS} s: {scene.controller.said}"

    return act


def twice_at_once(scene: Scene) -> None:
    """Somebody publishes by hand, twice at once, while the run does."""
    assert scene.controller.runs(), scene.controller.said
    with ThreadPoolExecutor(2) as both:
        for run in [both.submit(play, "playbooks/publish.yml", options=("--limit", "index"), seconds=120) for _ in range(2)]:
            run.result().succeeded()
