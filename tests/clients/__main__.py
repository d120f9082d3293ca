"""The command line of the matrix of clients."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests import clients
from tests.clients.cells import CELLS, outcome
from tests.clients.programs import PACKAGES, Client, client
from tests.clients.scene import scene


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.clients", description=clients.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY", help="install the clients there, and again use what is there")
    parser.add_argument("--client", action="append", choices=PACKAGES, help="only these")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, scene() as here:
        chosen = [client(name, (options.keep or Path(temporary)).resolve() / name) for name in options.client or PACKAGES]
        for each in chosen:
            each.set_up()
        rows = {cell: [outcome(each, here, cell) for each in chosen] for cell in CELLS}
        print(_table(chosen, rows))
    return int(not all(is_right for row in rows.values() for is_right, _ in row))


def _table(chosen: list[Client], rows: dict[str, list[tuple[bool, str]]]) -> str:
    heads = [each.name if each.name.endswith(".1") else f"{each.name} {each.version()}" for each in chosen]
    lines = ["| | " + " | ".join(heads) + " |", "|---" * (len(chosen) + 1) + "|"]
    return "\n".join(lines + [f"| {cell} | " + " | ".join(told for _, told in row) + " |" for cell, row in rows.items()])


if __name__ == "__main__":
    sys.exit(main())
