"""Render a project's page and the listing of projects, as HTML (PEP 503) and JSON (PEP 691), both at simple API 1.4."""

import html
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import escape

#: PEP 833 freezes HTML at it.
API_VERSION = "1.4"
#: Declared where upstream tells no sizes: from 1.1 on they are mandatory (PEP 700). docs/index-layout.md names this mode.
API_VERSION_WITHOUT_SIZES = "1.0"
QUARANTINED = "quarantined"
#: The statuses of PEP 792. Others, such as the catalogue's "gone", are nobody's business outside.
_STATUSES = ("active", "archived", QUARANTINED, "deprecated")


class PageFile(NamedTuple):
    """A file on a page. ``url`` is absolute, or relative to the page; hashes are hex, ``size`` is bytes.

    A tuple, since today's upstream has twenty million of them: an object takes six times as long to make.
    """

    filename: str
    url: str
    sha256: str | None = None
    size: int | None = None
    requires_python: str | None = None
    yanked: bool = False
    yanked_reason: str | None = None
    upload_time: datetime | None = None
    metadata_sha256: str | None = None
    provenance: str | None = None
    #: Of our own wheels: what came of importing them, and the shared libraries they need, each with its package or None.
    import_result: str | None = None
    libraries: tuple[tuple[str, str | None], ...] = ()

    @property
    def apt_line(self) -> str | None:
        """What brings the libraries that packages are known of."""
        if not self.libraries:
            return None
        packages = sorted({package for _, package in self.libraries if package})
        return f"sudo apt install {' '.join(packages)}" if packages else None


@dataclass(frozen=True)
class ProjectPage:
    """All that one page says. ``files`` stand in the order of the page, ``versions`` in that of PEP 440.

    ``withdrawn`` are wheels that stand there no more, each with the reason.
    """

    name: str
    files: tuple[PageFile, ...]
    versions: tuple[str, ...]
    status: str | None = None
    status_reason: str | None = None
    withdrawn: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.status == QUARANTINED and self.files:
            raise ValueError(f"the page of {self.name} must offer no files: the project is quarantined (PEP 792)")

    @property
    def api_version(self) -> str:
        """Of its JSON."""
        return API_VERSION if all(file.size is not None for file in self.files) else API_VERSION_WITHOUT_SIZES


_environment = Environment(
    loader=PackageLoader("piwheels_builder.index", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_encoder = json.JSONEncoder(separators=(",", ":"))
#: A string as JSON has it.
_quoted = json.encoder.encode_basestring_ascii
_SPECIAL = re.compile("[&<>\"']")


def page_html(page: ProjectPage) -> bytes:
    """PEP 503 with the attributes of PEPs 592, 658, 714, 740 and 792."""
    shown, links = _known_status(page), "".join(map(_html_link, page.files))
    if shown.withdrawn:
        return _filled(shown, links).encode()
    before, between, heading, after = _frame(shown.status, shown.status_reason)
    name = escape(page.name)
    return f"{before}{name}{between}{name}{heading}{links}{after}".encode()


@lru_cache(maxsize=64)
def _frame(status: str | None, status_reason: str | None) -> tuple[str, str, str, str]:
    """What stands around a page's name, its heading and its links. To fill the template for each page took half of its time."""
    before, between, heading, after = _filled(ProjectPage("\0", (), (), status, status_reason), "\0").split("\0")
    return before, between, heading, after


def _filled(page: ProjectPage, links: str) -> str:
    return _environment.get_template("page.html.j2").render(page=page, links=links, api_version=API_VERSION)


def page_json(page: ProjectPage) -> bytes:
    """PEP 691 with the keys of PEPs 700, 714 (and 658's for older readers), 740 and 792, status at the top level as the
    specification's text has it.
    """
    shown = _known_status(page)
    content: dict[str, Any] = {
        "meta": {"api-version": page.api_version},
        "name": page.name,
        "versions": list(page.versions),
    }
    if shown.status:
        content["project-status"] = _without_none({"status": shown.status, "reason": shown.status_reason})
    if shown.withdrawn:
        # Names with an underscore in front are the index's own (PEP 691).
        content["_withdrawn"] = [{"filename": filename, "reason": reason} for filename, reason in shown.withdrawn]
    files = ",".join(map(_json_file, page.files))
    return f'{_encoder.encode(content)[:-1]},"files":[{files}]}}'.encode()


def listing_html(names: Iterable[str]) -> bytes:
    """The page of all project names, one a line."""
    # Escaped in one go: 736,344 times is most of the work.
    escaped = str(escape("\n".join(names))).splitlines()
    links = "".join(f'<a href="{name}/">{name}</a><br>\n' for name in escaped)
    return _environment.get_template("listing.html.j2").render(links=links, api_version=API_VERSION).encode()


def listing_json(names: Iterable[str]) -> bytes:
    """The page of all project names."""
    return _compact({"meta": {"api-version": API_VERSION}, "projects": [{"name": name} for name in names]})


def _html_link(file: PageFile) -> str:
    """One line. Put together here and not in the template: a page has a dozen, the index a million."""
    said = [f'<a href="{_plainly(file.url)}']
    if file.sha256:
        said.append(f"#sha256={_escaped_hash(file.sha256)}")
    said.append('"')
    if file.requires_python:
        said.append(f' data-requires-python="{_escaped(file.requires_python)}"')
    if file.yanked:
        said.append(f' data-yanked="{html.escape(file.yanked_reason or "")}"')
    if file.metadata_sha256:
        said.append(f' data-core-metadata="sha256={_escaped_hash(file.metadata_sha256)}"')
    if file.provenance:
        said.append(f' data-provenance="{html.escape(file.provenance)}"')
    said.append(f">{_plainly(file.filename)}</a>")
    if file.apt_line:
        said.append(f" <code>{html.escape(file.apt_line)}</code>")
    return "".join((*said, "<br>\n"))


@lru_cache(maxsize=4096)
def _escaped(text: str) -> str:
    """Remembered: most files say one of a few hundred."""
    return html.escape(text)


def _plainly(text: str) -> str:
    """Escaped, where anything is to be: few names and places have it, and to look takes a third of the time."""
    return html.escape(text) if _SPECIAL.search(text) else text


def _escaped_hash(text: str) -> str:
    return text if text.isalnum() else html.escape(text)


def _json_file(file: PageFile) -> str:
    """One file's object. Put together here: the encoder takes three times as long, most of it to learn what stands here anyhow."""
    said = [
        f'{{"filename":{_quoted(file.filename)},"url":{_quoted(file.url)}',
        f',"hashes":{{"sha256":{_quoted(file.sha256)}}}' if file.sha256 else ',"hashes":{}',
    ]
    if file.size is not None:
        said.append(f',"size":{int(file.size)}')
    if file.requires_python is not None:
        said.append(f',"requires-python":{_quoted(file.requires_python)}')
    said.append(f',"yanked":{_yanked(file)}')
    if file.upload_time:
        said.append(f',"upload-time":"{_timestamp(file.upload_time)}"')
    if file.metadata_sha256:
        metadata = f'{{"sha256":{_quoted(file.metadata_sha256)}}}'
        said.append(f',"core-metadata":{metadata},"data-dist-info-metadata":{metadata}')
    else:
        said.append(',"core-metadata":false')
    if file.provenance is not None:
        said.append(f',"provenance":{_quoted(file.provenance)}')
    if file.import_result or file.libraries:
        # The index's own: PEP 691 leaves it keys that begin so.
        own = {"_import": file.import_result, "_libraries": dict(file.libraries) or None, "_apt": file.apt_line}
        said.append("," + _encoder.encode(_without_none(own))[1:-1])
    return "".join((*said, "}"))


def _yanked(file: PageFile) -> str:
    if not file.yanked:
        return "false"
    return _quoted(file.yanked_reason) if file.yanked_reason else "true"


def _timestamp(moment: datetime) -> str:
    """As PEP 700 wants it: UTC, and a Z at the end."""
    utc = moment.astimezone(UTC)
    date, time = (utc.year, utc.month, utc.day), (utc.hour, utc.minute, utc.second, utc.microsecond)
    # In less than half of the time that isoformat or an f-string takes.
    return "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ" % (*date, *time)  # noqa: UP031


def _known_status(page: ProjectPage) -> ProjectPage:
    if page.status is None or page.status in _STATUSES:
        return page
    return replace(page, status=None, status_reason=None)


def _without_none(content: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if value is not None}


def _compact(content: dict[str, Any]) -> bytes:
    return _encoder.encode(content).encode()
