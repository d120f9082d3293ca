"""A project page of the upstream index, decoded: JSON (PEP 691, 700, 740, 792), or HTML (PEP 503) in degraded mode.

Degraded mode: HTML tells neither sizes nor upload times nor releases without files, and has no serial, so that every sync compares
whole pages.
"""

from packaging.utils import NormalizedName

from piwheels_builder.catalogue.json_page import UnknownVersion, decode_json_page
from piwheels_builder.catalogue.offered import Page
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
            # What it imports takes 15 MB and a second of a Pi, and few upstreams have nothing better.
            from piwheels_builder.catalogue.html_page import decode_html_page  # noqa: PLC0415

            page = decode_html_page(project, body, url)
        else:
            raise UpstreamError(f"{url} answers with {kind or 'no content type'}, not with a project page", temporary=False)
    except UnknownVersion as error:
        raise UpstreamError(f"{url} speaks simple API {error}; this fleet knows 1", temporary=False) from error
    except (ValueError, RecursionError, AssertionError) as error:
        raise UpstreamError(f"{url} is not a project page: {_first_lines(error)}", temporary=False) from error
    if page is not None and page.project != project:
        raise UpstreamError(f"{url} is the page of {page.project!a}, not of {project}", temporary=False)
    return page


def _first_lines(error: BaseException) -> str:
    # pydantic's message is the field on its second line and what is wrong with it on the third.
    return " ".join(str(error).split("\n")[:3]).strip() or type(error).__name__
