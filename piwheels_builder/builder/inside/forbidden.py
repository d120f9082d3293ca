"""Takes from a process, and all it will start, what no build needs of the kernel (seccomp(2)). Runs inside the sandbox.

- New user namespaces: with one come a tmpfs of one's own, whose memory is no process's, and most of the kernel's attack surface.
- Shared memory segments, semaphores and messages of System V: their memory is no process's either, and semaphores may take 64 GB.
- Keyrings: outside of a user namespace they last longer than a build.
"""

import ctypes
import os
import struct
from typing import List, NamedTuple  # noqa: UP035 - Python 3.8

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_ALLOW, _EPERM, _ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026
_CLONE_NEWUSER = 0x10000000
_X32_BIT = 0x40000000
# Classic BPF: load a word, jump if equal, greater or equal, any bit set, return.
_LOAD, _EQUAL, _AT_LEAST, _HAS_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
#: Offsets in struct seccomp_data; of an argument's eight bytes the first four are the lower ones on all that is listed here.
_NUMBER, _ARCHITECTURE, _ARGUMENT = 0, 4, 16


class Calls(NamedTuple):
    """Numbers of system calls: those looked at for their flags, and those that are not there for a build."""

    architecture: int
    unshare: int
    clone: int
    #: clone3, shmget, semget, msgget, add_key, request_key, keyctl, and on i386 ipc. Where there is no clone3, the C library
    #: takes clone.
    refused: List[int]  # noqa: UP006 - Python 3.8


_CALLS = {
    "x86_64": Calls(0xC000003E, 272, 56, [435, 29, 64, 68, 248, 249, 250]),
    "i386": Calls(0x40000003, 310, 120, [435, 395, 393, 399, 286, 287, 288, 117]),
    "arm64": Calls(0xC00000B7, 97, 220, [435, 194, 190, 186, 217, 218, 219]),
    "arm": Calls(0x40000028, 337, 120, [435, 307, 299, 303, 309, 310, 311]),
    "riscv64": Calls(0xC00000F3, 97, 220, [435, 194, 190, 186, 217, 218, 219]),
}


def forbid() -> bool:
    """From now on, for good. Returns False where this architecture isn't known, or the kernel has no filters."""
    calls = _calls_of(os.uname().machine, struct.calcsize("P"))
    if calls is None:
        return False
    steps = b"".join(struct.pack("HBBI", *step) for step in program(calls))
    buffer = ctypes.create_string_buffer(steps, len(steps))
    described = struct.pack("HP", len(steps) // 8, ctypes.addressof(buffer))
    no_new_privileges = 38
    libc = ctypes.CDLL(None)
    libc.prctl(no_new_privileges, 1, 0, 0, 0)
    return bool(libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, described, 0, 0) == 0)


def program(calls: Calls) -> "List[tuple[int, int, int, int]]":  # noqa: UP006 - Python 3.8
    """The filter: a call of another architecture than this process's is refused whole, as its numbers mean other things."""
    refused = [(_AT_LEAST, _X32_BIT), *((_EQUAL, number) for number in calls.refused)]
    looked_at = [(_EQUAL, calls.unshare), (_EQUAL, calls.clone)]
    # How many steps follow each of them, up to: return ALLOW, load, has bit, return ALLOW, return EPERM, return ENOSYS.
    left = len(refused) + len(looked_at)
    steps = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 0, left + 6, calls.architecture), (_LOAD, 0, 0, _NUMBER)]
    for code, value in refused:
        left -= 1
        steps.append((code, left + 5, 0, value))
    for code, value in looked_at:
        left -= 1
        steps.append((code, left + 1, 0, value))
    return [
        *steps,
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _ARGUMENT),
        (_HAS_BIT, 1, 0, _CLONE_NEWUSER),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _EPERM),
        (_RETURN, 0, 0, _ENOSYS),
    ]


def _calls_of(machine: str, pointer_bytes: int) -> "Calls | None":
    # A 32-bit Python under a 64-bit kernel may see either name.
    if machine == "x86_64" or (machine[:1] == "i" and machine[2:] == "86"):
        return _CALLS["x86_64" if pointer_bytes == 8 else "i386"]
    if machine == "aarch64" or machine.startswith("arm"):
        return _CALLS["arm64" if pointer_bytes == 8 else "arm"]
    return _CALLS.get(machine)
