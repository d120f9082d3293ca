"""A project page in HTML (PEP 503), parsed by pypi-simple; what that is stricter or laxer about than the PEPs is evened out."""

from collections.abc import Iterator

from packaging.utils import NormalizedName, canonicalize_name
from pypi_simple import DistributionPackage, ProjectPage, UnsupportedRepoVersionError, parse_links_stream

from piwheels_builder.catalogue.json_page import UnknownVersion, aware, checked_sha256, checked_size, without_credentials
from piwheels_builder.catalogue.offered import OfferedFile, Page
from piwheels_builder.db.text import storable


def decode_html_page(project: NormalizedName, body: bytes, url: str) -> Page:
    """The page. Raises UnknownVersion, other ValueErrors, RecursionError, AssertionError."""
    try:
        page = ProjectPage.from_html(project, body, url)
    except UnsupportedRepoVersionError as error:
        raise UnknownVersion(error.declared_version) from error
    return Page(
        project=canonicalize_name(storable(page.project)),
        files=tuple({file.filename: file for file in map(_file, page.packages)}.values()),
        status=page.status.value if page.status else "active",
        status_reason=storable(page.status_reason),
    )


def html_names(pieces: Iterator[bytes]) -> Iterator[str]:
    """The names on a page of all projects. Raises ValueError."""
    try:
        for link in parse_links_stream(pieces, http_charset="utf-8"):
            yield link.text
    except UnsupportedRepoVersionError as error:
        raise UnknownVersion(error.declared_version) from error


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
