"""Has the driver run a source's hooks in the sandbox, and reads what it left."""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeGuard

from piwheels_builder.builder import inside
from piwheels_builder.builder.area import Area, open_left
from piwheels_builder.builder.inside.words import ASKS
from piwheels_builder.builder.places import INSIDE, Places
from piwheels_builder.builder.process import Ended

_LARGEST_RESULT = 2**20


@dataclass(frozen=True)
class Request:
    """What the driver reads: ``source`` and ``build`` as it finds them; requirements already ``resolved``; names ``installed``.

    Those names are normalized. ``jobs``: how many files may be compiled at once.
    """

    source: str
    backend: str
    backend_path: tuple[str, ...]
    resolved: tuple[str, ...]
    installed: tuple[str, ...]
    jobs: int = 1
    build: str = str(INSIDE.build)


@dataclass(frozen=True)
class Answer:
    """What the driver said, as far as it may be believed: each field is of its type, no more."""

    ended: Ended
    #: Requirements that the backend asks for and the environment may lack.
    requires: tuple[str, ...] | None = None
    failure: str | None = None

    @property
    def asks(self) -> bool:
        return self.ended.exit_code == ASKS and self.requires is not None and not self.ended.stop


def driver_command(places: Places, *options: str) -> list[str]:
    """What runs the driver, with options from ``words``."""
    # -u: what it prints stands in the log in the order in which it was printed.
    # -S: what a requirement's .pth files run comes after the driver's own first steps.
    return [os.fspath(places.environment / "bin/python"), "-u", "-S", os.fspath(places.driver / "driver.py"), *options]


def write_request(area: Area, request: Request) -> None:
    """Put the driver and its request where the sandbox mounts them."""
    write_inside(area.driver)
    path = area.driver / "request.json"
    path.write_text(json.dumps(asdict(request)), encoding="utf-8")
    path.chmod(0o644)


def write_inside(driver: Path) -> None:
    """Put the programs that run inside into the directory that the sandbox mounts at /driver, for every user to read."""
    for program in Path(inside.__path__[0]).glob("[a-z]*.py"):
        shutil.copyfile(program, driver / program.name)
        (driver / program.name).chmod(0o644)


def read_answer(area: Area, ended: Ended) -> Answer:
    """Never fails: a missing or odd result is an answer that says nothing."""
    try:
        with open_left(area, "result.json") as file:
            fields = json.loads(file.read(_LARGEST_RESULT))
    except (OSError, ValueError, RecursionError):
        return Answer(ended)
    return _answer(fields, ended) if isinstance(fields, dict) else Answer(ended)


def _answer(fields: dict[str, Any], ended: Ended) -> Answer:
    requires, failure = fields.get("requires"), fields.get("failure")
    return Answer(
        ended,
        requires=tuple(requires) if _is_list_of_strings(requires) else None,
        failure=failure[:1000] if isinstance(failure, str) else None,
    )


def _is_list_of_strings(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def source_inside(area: Area, source: Path, places: Places) -> str:
    """Where the build finds a directory that is below ``area.build``."""
    return os.fspath(places.build / source.relative_to(area.build))
