"""Attacks that do not end, and that outlive their end."""

from piwheels_builder.states import Outcome
from tests.hostile.attack import Attack, in_script

_PATIENCE = 2


def _endless(name: str, tries: str, body: str, *ends: Outcome, **rest: object) -> Attack:
    return in_script(name, tries, body, *(ends or (Outcome.TIMEOUT,)), build_seconds=_PATIENCE, seconds=_PATIENCE + 6.0, **rest)


ATTACKS: tuple[Attack, ...] = (
    _endless("sleeps", "sleeps for ever", "import time; time.sleep(1e6)"),
    _endless("busy", "computes for ever, on every processor", "import os\nfor _ in range(3): os.fork()\nwhile True: pass"),
    in_script(
        "stalls",
        "neither computes nor prints, which a long limit of time alone would allow for hours",
        "import time; time.sleep(1e6)",
        Outcome.STALLED,
        build_seconds=60,
        seconds=20.0,
        limits={"stall_seconds": 2},
    ),
    in_script(
        "stalls_loudly_enough",
        "sleeps, and wakes now and then to look alive",
        "import time\nwhile True: time.sleep(0.3); print('still alive', flush=True)",
        Outcome.TIMEOUT,
        build_seconds=3,
        seconds=20.0,
        limits={"stall_seconds": 2},
    ),
    _endless(
        "ignores_signals",
        "ignores every signal that can be ignored, and sleeps in a child",
        """
        import signal, subprocess
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        subprocess.call(['sleep-' + W['mark'], '1000000'], executable='/bin/sleep')
        """,
    ),
    in_script(
        "daemon",
        "forks twice and leads a session of its own, to stay when the build is over",
        """
        import time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for descriptor in range(3):
                    os.close(descriptor)
                os.execv('/bin/sleep', ['sleep-' + W['mark'], '1000000'])
            os._exit(0)
        """,
    ),
    in_script(
        "daemon_with_the_log",
        "the same, with the log held open, so that its end is never seen",
        """
        if os.fork() == 0:
            os.setsid()
            os.execv('/bin/sleep', ['sleep-' + W['mark'], '1000000'])
        """,
    ),
    in_script(
        "restarts_itself",
        "has two processes that start each other again when one is killed",
        """
        import subprocess
        script = 'trap "" TERM HUP INT; while true; do sh -c "sleep 0.05" sleep-%s; done' % W['mark']
        for _ in range(2):
            subprocess.Popen(['setsid', 'sh', '-c', script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        """,
    ),
    _endless("stops_itself", "stops itself, and waits to be continued", "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"),
    _endless(
        "stops_its_parent",
        "stops its parent, the first process and every other, which then can't end",
        """
        import signal, time
        for number in (os.getppid(), 1, -1):
            tried('stop', os.kill, number, signal.SIGSTOP)
        time.sleep(1e6)
        """,
    ),
    in_script(
        "kills_everybody",
        "kills every process that it may, its parent and the first one too, and goes on",
        """
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for number in (W['process'], 1, os.getppid(), -1):
            for sent in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
                tried('kill %d' % number, os.kill, number, sent)
        """,
    ),
    in_script(
        "kills_its_group",
        "kills its own process group and session",
        "import os, signal; os.killpg(0, signal.SIGKILL)",
        Outcome.OUT_OF_MEMORY,
        Outcome.BUILD_ERROR,
    ),
    _endless(
        "exit_handler",
        "waits in an exit handler and in a thread, after it has made its wheel",
        """
        import atexit, threading, time
        atexit.register(time.sleep, 1e6)
        threading.Thread(target=time.sleep, args=(1e6,)).start()
        """,
        Outcome.BUILT,
    ),
)
