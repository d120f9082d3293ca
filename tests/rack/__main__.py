"""The rack's command line: up, down, status, shell. RACK_NUMBER says which rack, RACK_CACHE where base images are kept."""

import argparse
import os
import sys

from tests.rack import rack
from tests.rack.addresses import rack_number
from tests.rack.commands import RackError, say

#: What a program ends with that was not allowed to do what it was asked.
NOT_ALLOWED = 77


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.rack", description=__doc__)
    orders = parser.add_subparsers(dest="order", required=True)
    up = orders.add_parser("up", help="make the hosts, or those named, and switch them on")
    up.add_argument("hosts", nargs="*")
    orders.add_parser("down", help="switch all off and remove them; base images are kept")
    orders.add_parser("status", help="say how each host stands")
    shell = orders.add_parser("shell", help="log in to a host as root")
    shell.add_argument("host")
    return parser.parse_args()


def main() -> int:
    """Do what was asked and return what to end with."""
    asked = arguments()
    if os.geteuid() != 0:
        say("a rack needs root: it mounts, makes networks and starts hosts. Run this with sudo.")
        return NOT_ALLOWED
    try:
        order(asked)
    except RackError as error:
        say(f"rack: {error}")
        return 1
    return 0


def order(asked: argparse.Namespace) -> None:
    """Carry an order out. Raises RackError."""
    number = rack_number()
    if asked.order == "up":
        rack.up(number, asked.hosts)
    elif asked.order == "down":
        rack.down(number)
    elif asked.order == "status":
        print("\n".join(rack.status(number)))
    else:
        words = rack.switched_on(number, asked.host).ssh_words()
        os.execvp(words[0], words)


if __name__ == "__main__":
    sys.exit(main())
