"""What a Python says about itself. Standard library only, Python 3.8 and newer: other Pythons run this file as a script."""

import json
import platform
import struct
import sys
import sysconfig
from typing import Any, Dict  # noqa: UP035 - Python 3.8


def about_this_python() -> Dict[str, Any]:  # noqa: UP006 - Python 3.8
    """The fields of Interpreter, of types that JSON has. platlibdir and the like all lie below the prefixes."""
    return {
        "executable": getattr(sys, "_base_executable", None) or sys.executable,
        "prefixes": sorted({sys.base_prefix, sys.base_exec_prefix}),
        "version": platform.python_version(),
        "implementation": sys.implementation.name,
        "abi": sysconfig.get_config_var("SOABI") or sysconfig.get_config_var("EXT_SUFFIX"),
        "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "bits": struct.calcsize("P") * 8,
    }


if __name__ == "__main__":
    print(json.dumps(about_this_python()))
