"""How long it takes to order Pis, wait for them and have them in the inventory: the play alone, against the fake API.

    python -m bench.hosted_pis --pis 20 --seconds 1

The index host is this machine with an embedded PostgreSQL; one sshd answers in the place of all. Fails beyond 30 s.
"""

import argparse
import resource
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.hosted_pi.fake import FakeApi
from tests.hosted_pi.playing import Controller, greeting
from tests.support.database import embedded_server, fresh_database
from tests.support.fleet import Fleet
from tests.support.ssh_server import free_port

MOST_SECONDS = 30


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pis", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=1, help="that the fake takes to provision one")
    asked: Any = parser.parse_args()
    with ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory())
        database = stack.enter_context(fresh_database(stack.enter_context(embedded_server())))
        api = stack.enter_context(FakeApi(seconds=asked.seconds))
        controller = Controller(Path(place) / "hosted", api, Fleet(database), free_port(), {"no_proxy": "127.0.0.1"})
        controller.write_inventory()
        stack.enter_context(greeting(controller.port))
        return measure(controller, asked.pis)


def measure(controller: Controller, pis: int) -> int:
    """Order so many, and print the seconds; 1 where that took too long."""
    began, used = time.monotonic(), _cpu()
    played = controller.order(pis)
    ordered = time.monotonic() - began
    builders = controller.builders()
    took = time.monotonic() - began
    if played.exit_code != 0 or len(builders) != pis:
        print(played.output)
        return 1
    print(f"{pis} Pis: ordered, waited for and answering in {ordered:.1f} s, in the inventory in {took:.1f} s")
    print(f"{_cpu() - used:.1f} s of CPU")
    return int(took > MOST_SECONDS)


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


if __name__ == "__main__":
    sys.exit(main())
