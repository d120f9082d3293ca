"""Where everything lies in the published tree, and at which URL: see docs/index-layout.md for why."""

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import PurePosixPath
from urllib.parse import quote

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from piwheels_builder.catalogue.filenames import is_plain_wheel
from piwheels_builder.errors import BadInput
from piwheels_builder.targets import GLIBC

#: The kinds of pages: simple API in HTML (PEP 503) and JSON (PEP 691).
KINDS = ("json", "html")
#: What the name of a page's file ends with.
PACKED = ".gz"
#: A normalized project name (PEP 503), and nothing else.
PROJECT_NAME = r"[a-z0-9]+(?:-[a-z0-9]+)*"
#: What a wheel's filename may be made of (PEP 427, PEP 440 local versions), so that it is one path component and one URL segment.
_FILENAME_CHARACTERS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+!-]*")
_LONGEST_FILENAME = 255 - len(".metadata")


def shard(project: str) -> str:
    """The first two characters of a normalized project name: ``fl`` of ``flask``. Raises BadInput for any other name."""
    if not re.fullmatch(PROJECT_NAME, project):
        raise BadInput(f"{project!r} is not a normalized project name (PEP 503)")
    return project[:2]


@lru_cache(maxsize=4096)
def checked_wheel_filename(filename: str) -> str:
    """The filename itself, if it is a wheel's and safe in a path and a URL. Raises BadInput for anything else."""
    try:
        if not is_plain_wheel(filename):
            parse_wheel_filename(filename)
    except InvalidWheelFilename as error:
        raise BadInput(f"{filename!r} is not the filename of a wheel: {error}") from error
    if len(filename) > _LONGEST_FILENAME or not _FILENAME_CHARACTERS.fullmatch(filename):
        raise BadInput(f"{filename!r} is too long, or has characters that no wheel's filename has")
    return filename


def wheel_path(project: str, filename: str) -> PurePosixPath:
    """Of a wheel under the tree's root; its metadata lies beside it with ``.metadata`` added. Raises BadInput."""
    return PurePosixPath(_wheel_place(project, filename))


def _wheel_place(project: str, filename: str) -> str:
    return f"wheels/{shard(project)}/{project}/{checked_wheel_filename(filename)}"


def log_path(project: str, attempt_id: int) -> PurePosixPath:
    """Of a failed attempt's log under the tree's root. Raises BadInput."""
    return PurePosixPath("logs", shard(project), project, f"{attempt_id}.log.gz")


@dataclass(frozen=True)
class SimpleRoot:
    """A simple index in the tree: one for each OS release, and one (None) for what holds on all of them."""

    os_release: str | None = None

    def __post_init__(self) -> None:
        if self.os_release is not None and self.os_release not in GLIBC:
            raise BadInput(f"{self.os_release!r} is not an OS release known here: one of {', '.join(GLIBC)}")

    @cached_property
    def directory(self) -> str:
        """Holds the shards, and the listing of all its projects."""
        return f"{self.os_release}/simple" if self.os_release else "simple"

    def listing(self, kind: str) -> str:
        """The page of all names; ``kind`` is json or html."""
        return f"{self.directory}/index.{kind}"

    def page(self, project: str, kind: str) -> str:
        """A project's page. That of an OS release is there only where it differs from ``simple/``'s. Raises BadInput.

        As text: of a hundred thousand, objects took a twenty-fifth of the time.
        """
        return f"{self.directory}/{shard(project)}/{project}.{kind}"


def packed(page: PurePosixPath | str) -> PurePosixPath:
    """Where a page lies: compressed, and nowhere else."""
    return PurePosixPath(f"{page}{PACKED}")


def wheel_url(project: str, filename: str) -> str:
    """Of a wheel on this host, the same on the pages of every root. Raises BadInput."""
    return "/" + quote(_wheel_place(project, filename))
