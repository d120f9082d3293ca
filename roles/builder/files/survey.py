"""Print what a host is and has, for the tasks that follow: one step, since each costs seconds on a small Pi.

Reads from standard input, as JSON: ``describe``, the text of describe.py; ``pythons``, interpreters; ``packages`` and
``machine_packages`` (not wanted in containers, nor where zram is set up already), each a list of names or of lists of which
one is enough; ``accounts``, names.
"""

import json
import os
import pwd
import subprocess
import sys
import time
from pathlib import Path

LISTS_LAST_SECONDS = 7 * 86400


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
        "clock": time.time(),
    }


print(json.dumps(survey(json.load(sys.stdin))))
