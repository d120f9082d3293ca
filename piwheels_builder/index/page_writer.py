"""A process that writes pages for another one (bulk.py): it reads orders from its input, one JSON value a line.

The first says what to do it with, every other one is a portion of projects; the answer to each is of how many a page changed, or
the fault that ends this process. It has its own connection and its own workshop in the tree. When the one it works for is gone, it
ends after its portion: what is not booked is due still.
"""

import gc
import json
import sys
from pathlib import Path
from typing import IO

from piwheels_builder.db.connect import connected
from piwheels_builder.errors import FleetError
from piwheels_builder.index.contents import PageRules
from piwheels_builder.index.rendering import Renderer
from piwheels_builder.index.tree import open_tree


def main() -> None:
    """Work until the input ends."""
    try:
        _work(sys.stdin)
    except FleetError as error:
        print(json.dumps({"fault": type(error).__name__, "message": str(error)}), flush=True)


def _work(orders: IO[str]) -> None:
    order = json.loads(orders.readline() or "null")
    if order is None:
        return
    # What a portion is made of has no cycles, and looking for them again and again takes a tenth of the time.
    gc.disable()
    rules = PageRules(frozenset(order["private"]), order["upstream_wins"])
    with connected(order["conninfo"]) as connection, open_tree(Path(order["root"])) as tree:
        renderer = Renderer(connection, tree, rules, lambda _: None)
        for line in orders:
            print(json.dumps(renderer.write(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
