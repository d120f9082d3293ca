"""The command line that puts a program into the sandbox. What isn't mounted here, a build doesn't see."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from piwheels_builder.builder.area import Area
from piwheels_builder.builder.limits import Limits

#: Of the host's /etc, what compilers and the dynamic linker read. The rest of /etc is ours, see etc_files.
_ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives")
_TOP = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
_BWRAP_INSIDE = "/bwrap"
#: bubblewrap's own first process would be one that a build of the same user can trace, and have do what is forbidden to it; as
#: root it is root's. The driver leaves a better one.
_AS_OURSELVES = ("--unshare-user", "--as-pid-1")
_OF_OURS = ("--die-with-parent", "--new-session", "--hostname", "builder")
_NAMESPACES = ("--unshare-pid", "--unshare-ipc", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")


@dataclass(frozen=True)
class Sandbox:
    """What a program in a sandbox sees. ``driver`` and ``etc`` are directories of ours, as in Area.

    ``opened`` are the directories it may write, by their place inside; ``uid``: the user it runs as when we are root, None for our
    own; ``personality``: of setarch.
    """

    bwrap: Path
    environment: Path
    driver: Path
    etc: Path
    opened: Mapping[str, Path]
    prefixes: tuple[Path, ...] = ()
    uid: int | None = None
    personality: str | None = None
    limits: Limits = field(default_factory=Limits)


def opened_by(area: Area) -> dict[str, Path]:
    """What a build may write, by its place inside."""
    return {"/build": area.build, "/tmp": area.tmp, "/dev/shm": area.shm}  # noqa: S108 - inside


def command(sandbox: Sandbox, program: Sequence[str]) -> list[str]:
    """The whole command line. Its environment variables are those bwrap itself gets."""
    return [
        os.fspath(sandbox.bwrap),
        *_NAMESPACES,
        *([] if sandbox.uid is not None else _AS_OURSELVES),
        *_OF_OURS,
        *("--chdir", "/build"),
        *_mounts(sandbox, ("--proc", "/proc")),
        "--",
        *demotion(sandbox.uid),
        *sandbox.limits.prlimit(),
        *pretence(sandbox.personality),
        *program,
    ]


def parent_command(sandbox: Sandbox, program: Sequence[str]) -> list[str]:
    """The same for a warm parent, whose children take namespaces of their own: as an ordinary user, also when we are root.

    As root a first bwrap makes what is ours alone to read visible, and a second one inside, run by the user of the builds, is the
    sandbox: the namespaces of children must belong to one in which /proc is whole, which bwrap never leaves to root.
    """
    inner = [*_NAMESPACES, "--unshare-user", *_OF_OURS]
    end = ["--", *pretence(sandbox.personality), *program]
    if sandbox.uid is None:
        return [os.fspath(sandbox.bwrap), *inner, *_mounts(sandbox, ("--proc", "/proc")), *end]
    within = ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
    for place in sandbox.opened:
        within += ["--bind", place, place]
    first = ("--bind", "/proc", "/proc", "--ro-bind", os.fspath(sandbox.bwrap), _BWRAP_INSIDE)
    # Its pid namespace has all of it die with us: a process that gave up root's rights can't signal what runs as another user.
    outer = [os.fspath(sandbox.bwrap), "--die-with-parent", "--unshare-pid", *_mounts(sandbox, first), "--"]
    return [*outer, *demotion(sandbox.uid), _BWRAP_INSIDE, *inner, *within, *end]


def etc_files(uid: int) -> dict[str, str]:
    """Our files in the sandbox's /etc, by name: one user, no names but localhost."""
    return {
        "passwd": f"root:x:0:0::/:/bin/sh\nbuilder:x:{uid}:{uid}::/build/home:/bin/sh\n",
        "group": f"root:x:0:\nbuilder:x:{uid}:\n",
        "hosts": "127.0.0.1 localhost builder\n::1 localhost\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    }


def _mounts(sandbox: Sandbox, first: Sequence[str]) -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for name in _TOP:
        yield from _top_level(Path("/") / name)
    yield from (*first, "--dev", "/dev", "--dir", "/etc")
    for name in _ETC:
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    yield from ("--symlink", "../usr/lib/os-release", "/etc/os-release")
    for name in etc_files(0):
        yield from ("--ro-bind", f"{sandbox.etc}/{name}", f"/etc/{name}")
    for prefix in _prefixes(sandbox.prefixes):
        # bwrap itself makes what is missing above a mount 0700, and the build runs as another user.
        for above in reversed(prefix.parents[:-1]):
            yield from ("--dir", os.fspath(above))
        yield from ("--ro-bind", os.path.realpath(prefix), os.fspath(prefix))
    yield from ("--ro-bind", os.fspath(sandbox.environment), "/env", "--ro-bind", os.fspath(sandbox.driver), "/driver")
    yield from ("--dir", "/build", "--dir", "/tmp", "--dir", "/var", "--symlink", "../tmp", "/var/tmp")  # noqa: S108 - inside
    for place, directory in sandbox.opened.items():
        yield from ("--bind", os.fspath(directory), place)
    # What is left is memory, without a bound: an ordinary user's sandbox is that user's own.
    yield from ("--remount-ro", "/dev", "--remount-ro", "/")


def _top_level(place: Path) -> Iterator[str]:
    """/bin, /lib and so on as on this host: links into /usr, or directories of their own."""
    if place.is_symlink():
        yield from ("--symlink", os.fspath(place.readlink()), os.fspath(place))
    elif place.is_dir():
        yield from ("--ro-bind", os.fspath(place), os.fspath(place))


def _prefixes(prefixes: Sequence[Path]) -> list[Path]:
    """Where the interpreter lives if not in /usr, under each name that leads there."""
    places = {place for prefix in prefixes for place in (prefix, prefix.resolve())}
    return sorted(place for place in places if not place.is_relative_to("/usr"))


def pretence(personality: str | None) -> list[str]:
    """The start of a command that runs the rest of it under another name of this machine, if one is wanted."""
    return ["/usr/bin/setarch", personality] if personality else []


def demotion(uid: int | None) -> list[str]:
    """As root, bwrap keeps root's rights for the mounts; they end here.

    By its whole path, like all that runs before the driver: on the build's PATH the programs of its requirements come first.
    """
    if uid is None:
        return []
    user = ["--reuid", str(uid), "--regid", str(uid), "--clear-groups"]
    return ["/usr/bin/setpriv", *user, "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"]
