"""Print what a host is and has, for the tasks that follow: one step, since each costs seconds on a small Pi.

Reads from standard input, as JSON: ``describe``, the text of describe.py; ``pythons``, interpreters; ``packages`` and
``machine_packages`` (not wanted in containers, nor where zram is set up already), each a list of names or of lists of which
one is enough; ``accounts``, names; ``state_dir``, which need not be there yet; ``kernel_words``, of a command line that should
have them, by the file that is there once it has.
"""

import json
import os
import pwd
import subprocess
import sys
import time
from pathlib import Path

LISTS_LAST_SECONDS = 7 * 86400
NETWORK = ("nfs", "nfs4")
MEMORY = ("tmpfs", "ramfs", "overlay")
COMMAND_LINES = ("/boot/firmware/cmdline.txt", "/boot/cmdline.txt")


def told(*command):
    # What they print is read here: never in the language of the host.
    environment = {**os.environ, "LC_ALL": "C", "LANGUAGE": "C"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment).stdout


def described(source, python):
    try:
        done = subprocess.run([python, "-c", source], capture_output=True, text=True, check=False)
    except OSError as error:
        return {"refused": f"{python}: {error.strerror}"}
    return {"refused": f"{python}: {done.stderr.strip()[-300:]}"} if done.returncode else json.loads(done.stdout)


def installed(names):
    lines = told("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *names).splitlines() if names else []
    return {line.split()[0] for line in lines if line.endswith(" installed")}


def obtainable(names):
    """Those that apt has a version of."""
    known, name = set(), ""
    for line in told("apt-cache", "policy", *names).splitlines() if names else []:
        if not line.startswith(" "):
            name = line.rstrip(":")
        elif line.strip().startswith("Candidate:") and "(none)" not in line:
            known.add(name)
    return known


def lacking(entries):
    """What to install, and what apt knows nothing of."""
    entries = [[entry] if isinstance(entry, str) else entry for entry in entries]
    there = installed([name for entry in entries for name in entry])
    lacked = [entry for entry in entries if not there.intersection(entry)]
    known = obtainable([name for entry in lacked for name in entry])
    choices = {" or ".join(entry): next((name for name in entry if name in known), None) for entry in lacked}
    return sorted({choice for choice in choices.values() if choice}), [entry for entry, choice in choices.items() if not choice]


def lists_age():
    """Seconds since apt last asked what there is."""
    times = [path.stat().st_mtime for path in Path("/var/lib/apt/lists").glob("*_Packages*")]
    return time.time() - max(times) if times else float("inf")


def account(name):
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return {"name": name}
    return {"name": name, "home": entry.pw_dir, "shell": entry.pw_shell}


def lines_of(path):
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def host_keys():
    """The server's own public keys, without what follows the key itself."""
    keys = [lines[0] for lines in map(lines_of, sorted(Path("/etc/ssh").glob("ssh_host_*_key.pub"))) if lines]
    return [" ".join(key.split()[:2]) for key in keys]


def feeds_on_an_index():
    """Whether pip.conf adds an index to the upstream one, as Raspberry Pi OS's own does."""
    names = {line.partition("=")[0].strip() for line in lines_of("/etc/pip.conf")}
    return "extra-index-url" in names and "index-url" not in names


def zram_of_others():
    return any("/dev/zram" in line for line in lines_of("/proc/swaps")) and not Path("/etc/default/zramswap").exists()


def mounted():
    """Mount points with what is mounted there, the last one counting: tuples of a kind of file system and its options."""
    points = {}
    for line in lines_of("/proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        points[before.split()[4].replace("\\040", " ")] = (after.split()[0], after.split()[-1])
    return points


def place_of(path, points):
    """The mount point that a path is below."""
    steps = [Path(path), *Path(path).parents]
    return next((str(step) for step in steps if str(step) in points), "/")


def root_is_on_the_network(points):
    kind, options = points.get("/", ("", ""))
    if kind != "overlay":
        return kind in NETWORK
    lower = next((option[9:] for option in options.split(",") if option.startswith("lowerdir=")), "")
    # Whoever made the overlay may have put what is below it out of sight; the kernel was told, though.
    words = " ".join(lines_of("/proc/cmdline")).split()
    told = any(word == "root=/dev/nfs" or word.startswith(("nfsroot=", "piwheels.host=")) for word in words)
    return told or any(points.get(place_of(part, points), ("",))[0] in NETWORK for part in lower.split(":") if part.startswith("/"))


def network(state_dir, kernel_words):
    """What a host with its root, or the state of its builder, on the network should know of itself; None for all others."""
    points = mounted()
    place = place_of(state_dir, points)
    root, kind = root_is_on_the_network(points), points.get(place, ("",))[0]
    if not root and kind not in NETWORK:
        return None
    missing = [word for word, there in kernel_words.items() if not is_there(there)]
    return {
        "places": (["/"] if root else []) + ([place] if kind in NETWORK and place != "/" else []),
        "state_is_on": "network" if kind in NETWORK else "memory" if kind in MEMORY else "disk",
        "missing_words": missing,
        "command_line": own_command_line(kernel_words),
        "swap_files": [line.split()[0] for line in lines_of("/proc/swaps") if line.split()[1:2] == ["file"]],
        "makes_swap_files": Path("/lib/systemd/system/dphys-swapfile.service").exists(),
    }


def is_there(sign):
    """A path; or a word and the file that it stands in."""
    word, _, file = sign.rpartition(" in ")
    return word in " ".join(lines_of(file)).split() if word else Path(file).exists()


def own_command_line(kernel_words):
    """The file that this kernel's command line was read from, without our words, if it is this host's to write; else None."""
    booted = " ".join(" ".join(lines_of("/proc/cmdline")).split())
    for name in COMMAND_LINES:
        words = [word for line in lines_of(name) for word in line.split()]
        text = " ".join(word for word in words if word not in kernel_words)
        # The firmware puts words of its own before them.
        ours = " ".join(word for word in booted.split() if word not in kernel_words)
        if text and ours.endswith(text) and os.access(name, os.W_OK):
            has = [word for word in words if word in kernel_words]
            return {"path": name, "text": text, "has": has, "mode": f"{Path(name).stat().st_mode & 0o7777:04o}"}
    return None


def survey(wanted):
    container = Path("/run/systemd/container").exists()
    spared = container or zram_of_others()
    missing, unknown = lacking(wanted["packages"] + ([] if spared else wanted["machine_packages"]))
    return {
        "described": [described(wanted["describe"], python) for python in wanted["pythons"]],
        "container": container,
        "missing": missing,
        "unknown": unknown,
        # What apt doesn't know may be new, or its lists may be old, or not there at all.
        "lists_are_old": bool(unknown) and lists_age() > LISTS_LAST_SECONDS,
        "accounts": [account(name) for name in wanted["accounts"]],
        "host_keys": host_keys(),
        "resolvers": [line.split()[1] for line in lines_of("/etc/resolv.conf") if line.startswith("nameserver ")],
        "zram_of_others": zram_of_others(),
        "feeds_on_an_index": feeds_on_an_index(),
        "network": network(wanted["state_dir"], wanted["kernel_words"]),
        "clock": time.time(),
    }


print(json.dumps(survey(json.load(sys.stdin))))
