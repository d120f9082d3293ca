"""The command ``piwheels-builder``: one parser; each room adds its own commands.

Only the room that was asked is imported, by the name that its parser set as ``run``: all of them together take longer than many
a build.
"""

import argparse
import logging
import os
import pkgutil
import sys
from collections.abc import Sequence

from piwheels_builder.builder import command_line as builder_commands
from piwheels_builder.catalogue import command_line as catalogue_commands
from piwheels_builder.db import command_line as database_commands
from piwheels_builder.errors import FleetError
from piwheels_builder.index import command_line as index_commands
from piwheels_builder.queue import command_line as queue_commands
from piwheels_builder.site import command_line as site_commands
from piwheels_builder.watching import command_line as watching_commands
from piwheels_builder.wheelhouse import command_line as wheelhouse_commands

#: In the order in which a release travels, what looks at all of it last.
_ROOMS = (
    builder_commands,
    catalogue_commands,
    queue_commands,
    index_commands,
    site_commands,
    watching_commands,
    wheelhouse_commands,
    database_commands,
)
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code: 0, or the ``exit_code`` of the error it ended with (errors.py)."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        return int(pkgutil.resolve_name(options.run)(options))
    except FleetError as error:
        print(f"piwheels-builder: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our output has seen enough; keep Python from complaining again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """The whole command line, also for the reference in docs/."""
    top = argparse.ArgumentParser(
        prog="piwheels-builder",
        description="Turn releases of the upstream index into wheels, alone or as part of a fleet.",
        epilog="Try one release, without any fleet:  piwheels-builder build docopt==0.6.2 --wheel-dir .",
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for room in _ROOMS:
        room.add_commands(commands)
    return top


if __name__ == "__main__":
    sys.exit(main())
