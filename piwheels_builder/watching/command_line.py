"""The command line of ``watch``. What it does is in commands.py, which is imported when it is asked for."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_WATCH = """All builders in one terminal, and the log of the chosen one, followed while it builds.

  Up, Down   choose a builder            PageUp, PageDown, Ctrl+Home, Ctrl+End   in a long table; Tab: in the log
  b          the next of its builds      l                       the log alone, or with the table again
  q          leave

Keys that change something; each shows what it would do, and does it after y:

  p   pause: it gets nothing more, and builds what its spool holds       r   resume
  d   drain: what it builds ends, and nothing more begins                u   undrain
  s   skip the release whose log is shown
  a   requeue all that failed or is parked on it

Run it where the database is, on the index host, as root or the dispatcher's user: logs are read over ssh, with the key that rounds
log in with. A builder is believed by its pinned host key alone. Where there is no terminal, or with --once, a table is printed.
"""
_CODES = """Exit codes: 0 left with q; 64 settings or arguments are wrong; 75 the database is away, 77 it refused, at the start; 130
Ctrl-C, 143 SIGTERM, 129 the terminal is gone. A database or a builder that goes away meanwhile is told of on the screen, and tried
again."""


def add_commands(commands: "Subparsers") -> None:
    """Register this room's command."""
    watch = commands.add_parser(
        "watch",
        help="all builders in one terminal, with their logs",
        description=_WATCH,
        epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    watch.add_argument("--once", action="store_true", help="print a table and end")
    watch.add_argument("--seconds", type=float, default=5.0, metavar="N", help="between two looks (default: %(default)g)")
    watch.set_defaults(run="piwheels_builder.watching.commands:run_watch")
