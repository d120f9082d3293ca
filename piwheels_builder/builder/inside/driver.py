"""Runs the PEP 517 hooks of one source, both in this process. Runs inside the sandbox, in the build's environment.

Leaves result.json for the builder, prints the rest. Ends with 0 when the wheel is built, ASKS when the build needs requirements
that it can't know to be there.
"""

import importlib
import json
import os
import platform
import re
import site
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, Dict, List  # noqa: UP035 - Python 3.8

import first
from compiling import use_cores
from forbidden import forbid
from words import ADOPT, ASKS, FAILS, MARK

Fields = Dict[str, Any]  # noqa: UP006 - Python 3.8


def main() -> None:
    """The fresh form: an interpreter for this build alone, started without ``site``."""
    begin()
    if ADOPT in sys.argv:
        first.adopt()
    if ADOPT in sys.argv or os.getpid() == 1:
        split()
    # The directory of this script is not for the backend to import from, nor are its options the backend's.
    del sys.path[0], sys.argv[1:]
    site.main()
    work(json.loads(Path(__file__).with_name("request.json").read_text(encoding="utf-8")))


def begin() -> None:
    """What comes before the first line of anybody else's code, also of a .pth file's."""
    print(MARK, end="", flush=True)
    if not forbid():
        print("(without a filter of system calls) ", end="", flush=True)


def split() -> None:
    """Leave being the first process to a parent, which the build can't get at, and go on as its child."""
    first.keep_apart()
    worker = os.fork()
    if worker:
        first.end_with(worker)
    first.be_one_of_the_build()


def work(request: Fields) -> None:
    """Run the hooks as ``hooks.Request`` says, and end this process."""
    print(f"{platform.python_implementation()} {platform.python_version()} runs {request['backend']}", flush=True)
    result: Fields = {}
    try:
        os.chdir(request["source"])
        code = run_hooks(request, result)
    except SystemExit as error:
        print(f"SystemExit: {error.code}", file=sys.stderr)
        result["failure"], code = f"SystemExit: {error.code}", FAILS
    except BaseException as error:
        traceback.print_exc()
        result["failure"], code = f"{type(error).__name__}: {error}", FAILS
    leave(result, request["build"])
    # A backend's threads and exit handlers must not hold up, or change, how this ends.
    os._exit(code)


def run_hooks(request: Fields, result: Fields) -> int:
    """Build the wheel, or find out what that needs. Returns the exit code."""
    backend = load_backend(request["backend"], request["backend_path"])
    if request["jobs"] > 1:
        use_cores(request["jobs"])
    requirements: List[str] = []  # noqa: UP006 - Python 3.8
    if hasattr(backend, "get_requires_for_build_wheel"):
        requirements = list(map(str, backend.get_requires_for_build_wheel(None)))
    if any(is_unknown(requirement, request) for requirement in requirements):
        result["requires"] = requirements
        return int(ASKS)
    result["wheel"] = backend.build_wheel(request["build"] + "/wheels", None, None)
    return 0


def load_backend(name: str, backend_path: List[str]) -> Any:  # noqa: UP006 - Python 3.8
    """The backend object, from the source itself where backend-path says so (PEP 517: then from nowhere else)."""
    inside = [os.path.realpath(path) for path in backend_path]
    root = os.path.realpath(".")
    for path in inside:
        if os.path.commonpath([root, path]) != root:
            raise ValueError(f"backend-path leads out of the source: {path}")
    sys.path[:0] = inside
    module_name, _, attributes = name.partition(":")
    module = importlib.import_module(module_name)
    if inside and not is_inside(module, inside):
        raise ImportError(f"{module_name} is not in backend-path")
    backend: Any = module
    for attribute in filter(None, attributes.split(".")):
        backend = getattr(backend, attribute)
    return backend


def is_inside(module: ModuleType, directories: List[str]) -> bool:  # noqa: UP006 - Python 3.8
    """Whether a module comes from one of these directories. A namespace package has no file, but a path."""
    origin = os.path.realpath(getattr(module, "__file__", None) or next(iter(module.__path__)))
    return any(os.path.commonpath([directory, origin]) == directory for directory in directories)


def is_unknown(requirement: str, request: Fields) -> bool:
    """Whether only the builder can tell if a requirement is met: it isn't one it resolved, nor a bare name that is installed."""
    name = re.sub(r"[-_.]+", "-", requirement.strip()).lower()
    return requirement not in request["resolved"] and name not in request["installed"]


def leave(result: Fields, build: str) -> None:
    """Write the result for the builder."""
    sys.stdout.flush()
    sys.stderr.flush()
    Path(build, "result.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
