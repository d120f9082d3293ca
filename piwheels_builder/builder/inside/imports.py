"""Imports the modules of a wheel, one after the other, where its requirements are. Runs inside the sandbox, as the driver does.

Before each it leaves in result.json which it is, so that one that ends Python is known by name; at the end that it is done.
"""

import importlib
import json
import os
import platform
import site
import sys
import traceback
from pathlib import Path
from typing import Any, Dict  # noqa: UP035 - Python 3.8

import first
from driver import begin, leave, split
from words import ADOPT, FAILS


def main() -> None:
    """In an interpreter of its own, started without ``site``."""
    begin()
    if ADOPT in sys.argv:
        first.adopt()
    if ADOPT in sys.argv or os.getpid() == 1:
        split()
    request = json.loads(Path(__file__).with_name("imports.json").read_text(encoding="utf-8"))
    # This script's directory is none of the wheel's.
    del sys.path[0], sys.argv[1:]
    os.chdir(request["build"])
    site.main()
    sys.path.insert(0, request["site"])
    # Reads its .pth files, too.
    site.addsitedir(request["site"])
    import_all(request)


def import_all(request: Dict[str, Any]) -> None:  # noqa: UP006 - Python 3.8
    """Import what ``importing.Request`` names, and end this process."""
    print(f"{platform.python_implementation()} {platform.python_version()} imports {' '.join(request['modules'])}", flush=True)
    for module in request["modules"]:
        leave({"module": module}, request["build"])
        try:
            importlib.import_module(module)
        except BaseException as error:
            traceback.print_exc()
            leave({"module": module, "failure": f"{type(error).__name__}: {error}"}, request["build"])
            os._exit(FAILS)
    leave({"done": True}, request["build"])
    # What it began in the background, and wants done at the end, is not asked for.
    os._exit(0)


if __name__ == "__main__":
    main()
