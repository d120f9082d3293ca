"""The first process of a build's pid namespace: kept from all others, it waits for them, and when it ends the kernel ends them."""

import ctypes
import os
import signal

_PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 4, 36


def keep_apart() -> None:
    """Be no process that the build's, which have the same user, can stop, trace or read (ptrace(2), kill(2))."""
    # Python's own handler would let a build interrupt the first process of its namespace; without one the kernel spares it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _set_dumpable(False)


def adopt() -> None:
    """Be, where there is no pid namespace, what its first process is: the parent of whatever loses its own."""
    # Where the kernel (or an emulator) refuses, the watcher may lose sight of what a build leaves in the background.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def be_one_of_the_build() -> None:
    """What a child of the first process does first."""
    _set_dumpable(True)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def end_with(worker: int) -> None:
    """Wait for all processes, and end as this one of them does."""
    while True:
        ended, status = os.wait()
        if ended == worker:
            os._exit(exit_code(status))


def exit_code(status: int) -> int:
    """As a shell, and bubblewrap, would say it: 128 and the signal's number where one ended the process."""
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _set_dumpable(dumpable: bool) -> None:
    if ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, int(dumpable), 0, 0, 0):
        raise OSError("prctl(PR_SET_DUMPABLE) failed")
