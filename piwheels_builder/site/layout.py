"""Where the site lies in the published tree, beside the index: under ``site/``, compressed like every page there."""

from pathlib import PurePosixPath

from piwheels_builder.index.layout import shard

ROOT = PurePosixPath("site")
HOME, FLEET, FOUND = ROOT / "index.html", ROOT / "fleet.html", ROOT / "search.html"
LOG, UNKNOWN = ROOT / "log.html", ROOT / "unknown.html"
LIVE, SEARCH, ASSETS = ROOT / "live", ROOT / "search", ROOT / "assets"
#: What nginx shows as /metrics.
METRICS = LIVE / "metrics.txt"
#: What the last refresh knew. nginx serves no file whose name begins with a dot.
STATE = PurePosixPath(".site.json")


def project_html(project: str) -> PurePosixPath:
    """A project's page. Raises BadInput."""
    return ROOT / "project" / shard(project) / f"{project}.html"


def project_json(project: str) -> PurePosixPath:
    """All that there is to say of a project. Raises BadInput."""
    return ROOT / "project" / shard(project) / f"{project}.json"
