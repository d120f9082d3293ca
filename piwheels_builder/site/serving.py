"""Which file answers a URL of the site, for the trial server: the rule of roles/index/templates/site.conf.j2."""

import re
from pathlib import PurePosixPath

from piwheels_builder.index.layout import PROJECT_NAME
from piwheels_builder.site import layout

_PAGES = {"/": layout.HOME, "/fleet/": layout.FLEET, "/search/": layout.FOUND}
_PROJECT = re.compile(rf"/project/({PROJECT_NAME})/(json)?")
_LOG = re.compile(rf"/project/{PROJECT_NAME}/log/[0-9]+/")
_FILE = re.compile(r"/(?:live/(?:home|fleet|queue)|search/(?:shards|-[a-z0-9-]*)|assets/[a-z0-9-]+)\.(json|css|js|svg|woff2|txt)")
_TYPES = {
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "woff2": "font/woff2",
    "txt": "text/plain",
}


def place_of(path: str) -> PurePosixPath | None:
    """In the published tree, of what a URL's path shows; None where that is none of the site's."""
    if path in _PAGES:
        return _PAGES[path]
    if found := _PROJECT.fullmatch(path):
        return layout.project_json(found[1]) if found[2] else layout.project_html(found[1])
    if _LOG.fullmatch(path):
        return layout.LOG
    return layout.ROOT / path[1:] if _FILE.fullmatch(path) else None


def content_type(place: PurePosixPath) -> str:
    """By what its name ends with."""
    return _TYPES[place.suffix[1:]]
