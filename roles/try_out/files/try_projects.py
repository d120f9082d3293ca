"""Install projects into this virtual environment from one index alone, import them, and print how that went as a JSON list.

Usage: python try_projects.py PYTHON_WITH_PIP INDEX_URL REQUIREMENT... Each comes back with ``installed`` and ``told``, a line for
a person. One that cannot be imported here (one that wants a Pi's pins) is told of and counts as installed.
"""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

IMPORT_SECONDS = 60
#: Nothing but the command line says where to install from: no variable, no file of the user or the machine.
ENVIRONMENT = {**{name: value for name, value in os.environ.items() if not name.startswith("PIP_")}, "PIP_CONFIG_FILE": os.devnull}


def install(pip_python: str, index_url: str, requirements: list[str]) -> dict[str, dict[str, Any]]:
    """What was installed because it was asked for, as pip reports it, by normalized name. Raises CalledProcessError."""
    # Another Python's pip, since an environment with a pip of its own takes five seconds to make.
    pip = [pip_python, "-m", "pip", "--python", sys.executable, "--isolated", "--disable-pip-version-check"]
    # This very index is what is tried, whether or not it has a certificate.
    options = [
        "--index-url",
        index_url,
        "--trusted-host",
        urlsplit(index_url).netloc,
        "--no-cache-dir",
        "--force-reinstall",
        "--quiet",
        "--report",
        "-",
    ]
    # What the fleet built is a wheel; what that requires may exist as an sdist only.
    options += ["--only-binary", ",".join(requirement.partition("==")[0] for requirement in requirements)]
    done = subprocess.run([*pip, "install", *options, *requirements], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    asked = [item for item in json.loads(done.stdout)["install"] if item["requested"]]
    return {normalized(item["metadata"]["name"]): item for item in asked}


def install_each(pip_python: str, index_url: str, requirements: list[str]) -> list[dict[str, Any]]:
    """All by one pip; where that fails, since some cannot be had or do not go together, each by its own."""
    try:
        items = install(pip_python, index_url, requirements)
    except subprocess.CalledProcessError as error:
        if len(requirements) == 1:
            return [{"installed": False, "told": f"{requirements[0]} is not installed: {complaint(error.stderr)}"}]
        return [tried for requirement in requirements for tried in install_each(pip_python, index_url, [requirement])]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(tell, (items[normalized(requirement.partition("==")[0])] for requirement in requirements)))


def tell(item: dict[str, Any]) -> dict[str, Any]:
    """Import what was installed, and say so."""
    project, version = item["metadata"]["name"], item["metadata"]["version"]
    imports = "".join(f"; import {name}: {try_import(name) or 'ok'}" for name in import_names(project))
    return {"installed": True, "told": f"{project} {version} from {item['download_info']['url']}{imports}"}


def import_names(project: str) -> list[str]:
    """What a distribution lets one import: its top-level names, and its own name where that is a module (RPi.GPIO)."""
    owners = importlib.metadata.packages_distributions()
    names = {name for name in owners if name.isidentifier() and normalized(project) in map(normalized, owners[name])}
    if project.partition(".")[0] in names and all(part.isidentifier() for part in project.split(".")):
        names.add(project)
    return sorted(names)


def try_import(name: str) -> str | None:
    """The last line of what Python said when the import failed; None when it did not."""
    command = [sys.executable, "-c", f"import {name}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"still importing after {IMPORT_SECONDS} s"
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no message"])[-1]


def complaint(stderr: str) -> str:
    lines = stderr.splitlines()
    return next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1] if lines else "pip said nothing")


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    print(json.dumps(install_each(sys.argv[1], sys.argv[2], sys.argv[3:])))
