"""A publisher that dies: run as a program, it publishes once for every line it reads, and is gone at the given moment.

A line is the name of one of the publisher's steps, or the number of a moment: every step is one, and every change that it makes
to the file system. The answer is the exit code: 0 when the publication came to its end. Each publication is a fork, so that the
imports are paid once.
"""

import os
import signal
import sys
from itertools import count
from pathlib import Path

from piwheels_builder.db.connect import connected
from piwheels_builder.index.contents import PageRules
from piwheels_builder.index.publication import publish

CHANGES = frozenset({"os.rename", "os.mkdir", "os.chmod", "os.remove", "os.rmdir", "os.utime", "shutil.rmtree"})


def main(conninfo: str, tree: str, outbox: str) -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            publish_until(line.strip(), conninfo, Path(tree), Path(outbox))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def publish_until(when: str, conninfo: str, tree: Path, outbox: Path) -> None:
    moments = count(1)

    def pass_moment(step: str = "") -> None:
        if when in (str(next(moments)), step):
            os.kill(os.getpid(), signal.SIGKILL)

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        writing = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in CHANGES or writing:
            pass_moment()

    sys.addaudithook(hear)
    with connected(conninfo) as connection:
        publish(connection, tree, {"pi1": outbox}, PageRules(), step=pass_moment)


if __name__ == "__main__":
    main(*sys.argv[1:])
