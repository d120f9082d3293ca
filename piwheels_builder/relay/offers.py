"""What the relay has to give: upstream's pages with the relay's own links, and the files that stand on them.

A builder names a project and a file, and no URL: what it gets is on a page of upstream's, or among the own sdists of a private
project, and nothing else that the credentials would open.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from packaging.utils import NormalizedName

from piwheels_builder.catalogue.offered import OfferedFile, Page
from piwheels_builder.catalogue.own_sdists import OwnSdists
from piwheels_builder.catalogue.upstream import UpstreamIndex
from piwheels_builder.errors import UnknownProject
from piwheels_builder.index.pages import QUARANTINED, PageFile, ProjectPage, page_json

#: Seconds that a page is used again: a resolution asks for a page and then for files on it.
FRESH_SECONDS = 60.0
#: Of the largest about a megabyte each.
_MOST_PAGES = 100
_METADATA = ".metadata"


@dataclass(frozen=True)
class Offer:
    """A file of the page it is on: its bytes are at ``url``, or at ``path`` on this host."""

    url: str
    path: Path | None = None


class Offers:
    """``upstream`` may be used by several threads, and so may this. ``clock`` is monotonic."""

    def __init__(self, upstream: UpstreamIndex, own: OwnSdists, clock: Callable[[], float] = time.monotonic) -> None:
        self._upstream = upstream
        self._own = own
        self._clock = clock
        self._lock = threading.Lock()
        self._pages: OrderedDict[NormalizedName, tuple[Page, float]] = OrderedDict()

    def page(self, project: NormalizedName) -> bytes:
        """A project's page in JSON. Raises UnknownProject, UpstreamError, BadInput (an own sdist that is none)."""
        page = self._page(project)
        # Who quarantined a project offers nothing of it (PEP 792).
        files = () if page.status == QUARANTINED else tuple(_relayed(file, project) for file in page.files)
        status = page.status if page.status != "active" else None
        return page_json(ProjectPage(project, files, page.versions, status, page.status_reason))

    def file(self, project: NormalizedName, filename: str) -> Offer:
        """A file of a project, or the metadata of one (PEP 658). Raises as ``page``, UnknownProject where there is no such file."""
        name = filename.removesuffix(_METADATA)
        found = next((file for file in self._page(project).files if file.filename == name), None)
        if found is None:
            raise UnknownProject(f"the page of {project} has no file {name!a}")
        if project in self._own.projects and self._own.directory:
            return Offer(found.url, self._own.directory / filename)
        return Offer(found.url + filename[len(name) :])

    def _page(self, project: NormalizedName) -> Page:
        if project in self._own.projects:
            return self._own.page(project)
        with self._lock:
            page, read_at = self._pages.get(project, (None, 0.0))
        if page is None or self._clock() - read_at > FRESH_SECONDS:
            page = self._upstream.page(project)
            assert page is not None, "asked for without an ETag or serial"
            self._remember(project, page)
        return page

    def _remember(self, project: NormalizedName, page: Page) -> None:
        with self._lock:
            self._pages[project] = (page, self._clock())
            self._pages.move_to_end(project)
            while len(self._pages) > _MOST_PAGES:
                self._pages.popitem(last=False)


def _relayed(file: OfferedFile, project: NormalizedName) -> PageFile:
    # Relative to /simple/PROJECT/. Where it was made is told by upstream alone.
    return PageFile(*file._replace(url=f"../../files/{project}/{quote(file.filename)}", provenance=None))
