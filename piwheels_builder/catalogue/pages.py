"""A project page of the upstream index, decoded: JSON (PEP 691, 700, 740, 792), or HTML (PEP 503) in degraded mode.

pypi-simple parses HTML, and what its parser is stricter or laxer about than the PEPs is evened out. Degraded mode: HTML tells
neither sizes nor upload times nor releases without files, and has no serial, so that every sync compares whole pages.
"""

from packaging.utils import NormalizedName, canonicalize_name
from pypi_simple import DistributionPackage, ProjectPage, UnsupportedRepoVersionError

from piwheels_builder.catalogue.json_page import (
    UnknownVersion,
    aware,
    checked_sha256,
    checked_size,
    decode_json_page,
    without_credentials,
)
from piwheels_builder.catalogue.offered import OfferedFile, Page
from piwheels_builder.db.text import storable
from piwheels_builder.errors import UpstreamError

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
HTML_TYPES = ("application/vnd.pypi.simple.v1+html", "text/html")


def decode_page(project: NormalizedName, body: bytes, content_type: str, url: str, known_serial: int | None = None) -> Page | None:
    """Decode the body of the page at ``url``; None where its serial is ``known_serial``.

    Raises UpstreamError, not temporary, for anything that is no page of ``project``.
    """
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if kind == JSON_TYPE:
            page = decode_json_page(body, url, known_serial)
        elif kind in HTML_TYPES:
            page = _html_page(project, body, url)
        else:
            raise UpstreamError(f"{url} answers with {kind or 'no content type'}, not with a project page", temporary=False)
    except UnknownVersion as error:
        raise UpstreamError(f"{url} speaks simple API {error}; this fleet knows 1", temporary=False) from error
    except UnsupportedRepoVersionError as error:
        raise UpstreamError(f"{url} speaks simple API {error.declared_version}; this fleet knows 1", temporary=False) from error
    except (ValueError, RecursionError, AssertionError) as error:
        raise UpstreamError(f"{url} is not a project page: {_first_lines(error)}", temporary=False) from error
    if page is not None and page.project != project:
        raise UpstreamError(f"{url} is the page of {page.project!a}, not of {project}", temporary=False)
    return page


def _html_page(project: NormalizedName, body: bytes, url: str) -> Page:
    page = ProjectPage.from_html(project, body, url)
    return Page(
        project=canonicalize_name(storable(page.project)),
        files=tuple({file.filename: file for file in map(_file, page.packages)}.values()),
        status=page.status.value if page.status else "active",
        status_reason=storable(page.status_reason),
    )


def _file(package: DistributionPackage) -> OfferedFile:
    return OfferedFile(
        filename=storable(package.filename),
        url=storable(without_credentials(package.url)),
        sha256=checked_sha256(package.digests, package.filename),
        size=checked_size(package.size, package.filename),
        requires_python=storable(package.requires_python),
        # Without a reason, too (PEP 592); JSON has it otherwise.
        yanked=package.is_yanked,
        yanked_reason=storable(package.yanked_reason or None) if package.is_yanked else None,
        upload_time=aware(package.upload_time),
        metadata_sha256=checked_sha256(package.metadata_digests or {}, package.filename),
        provenance=storable(package.provenance_url),
    )


def _first_lines(error: BaseException) -> str:
    # pydantic's message is the field on its second line and what is wrong with it on the third.
    return " ".join(str(error).split("\n")[:3]).strip() or type(error).__name__
