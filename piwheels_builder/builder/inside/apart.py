"""Sets a forked child apart from its parent and siblings: namespaces, mounts and capabilities, by the kernel's own calls.

user_namespaces(7), mount_namespaces(7), pid_namespaces(7), capabilities(7). The child sees what its parent's sandbox shows it,
less the other builds, and its own build's directories where every build finds its own.
"""

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

#: Where the parent's sandbox shows the directories of the builds that it is asked for, each below its name.
SHOWN = "/slot"
#: A build's directory below its name, and where the build finds it.
PLACES = (("build", "/build"), ("tmp", "/tmp"), ("shm", "/dev/shm"))  # noqa: S108 - inside the sandbox
_CLONE = {
    "NEWNS": 0x00020000,
    "NEWUTS": 0x04000000,
    "NEWIPC": 0x08000000,
    "NEWUSER": 0x10000000,
    "NEWPID": 0x20000000,
    "NEWNET": 0x40000000,
}
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 2, 4, 8, 4096, 16384, 1 << 18
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
#: The same on every architecture since Linux 5.3.
_SYS_PIDFD_OPEN = 434
_CAPABILITY_VERSION_3 = 0x20080522
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1

_libc = ctypes.CDLL(None, use_errno=True)


def unshare() -> None:
    """New namespaces of every kind but the cgroup's; the pid namespace is the next child's. The user keeps its number."""
    uid, gid = os.getuid(), os.getgid()
    _check(_libc.unshare(sum(_CLONE.values())), "unshare")
    for name, content in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        Path("/proc/self", name).write_text(content, encoding="ascii")


def mount_build(name: str) -> None:
    """Put the build's directories in their places, and hide where they came from."""
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    for directory, place in PLACES:
        _mount(f"{SHOWN}/{name}/{directory}", place, None, _MS_BIND)
    # What a process of another user namespace mounted can't be unmounted: whatever the build tries, this stays on top.
    _mount("tmpfs", SHOWN, "tmpfs", _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, "size=4k,mode=555")


def mount_proc() -> None:
    """The processes of this pid namespace alone."""
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


def raise_loopback() -> None:
    """A loopback interface of its own, as in every sandbox."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))


def drop_capabilities() -> None:
    """Give up what the new user namespace gave, for good, also for whatever is executed."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    capability = 0
    while _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")


def pidfd_open(pid: int) -> int:
    """A descriptor of a process, as os.pidfd_open, which Python 3.8 lacks."""
    descriptor = int(_libc.syscall(_SYS_PIDFD_OPEN, pid, 0))
    _check(0 if descriptor >= 0 else -1, "pidfd_open")
    return descriptor


def _mount(source: "str | None", target: str, kind: "str | None", flags: int, options: "str | None" = None) -> None:
    encoded = [text.encode() if text is not None else None for text in (source, target, kind, options)]
    _check(_libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]), "mount " + target)


def _check(answer: int, what: str) -> None:
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, what + ": " + os.strerror(number))
