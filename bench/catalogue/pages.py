"""Pages of the index in upstream's words: JSON (PEP 691, 700, 792), or HTML (PEP 503) without serials, sizes and upload times."""

import html
import json
from typing import Any

from bench.catalogue import VERSION
from bench.catalogue.generate import Catalogue, File, Project

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
HTML_TYPE = "text/html"


def etag(catalogue: Catalogue, number: int, serial: int) -> str:
    """Of a project's page at this serial, without making it."""
    return f'"{VERSION}-{catalogue.seed}-{catalogue.size.name}-{number}-{serial}"'


def json_page(project: Project) -> bytes:
    """A project page with its serial."""
    page = {
        "meta": {"_last-serial": project.serial, "api-version": "1.4"},
        "name": project.name,
        "project-status": {"status": "active"},
        "versions": [release.spelling for release in project.releases],
        "files": [_file(file) for release in project.releases for file in release.files],
    }
    return json.dumps(page, separators=(",", ":")).encode()


def html_page(project: Project) -> bytes:
    """A project page of an upstream that speaks only HTML."""
    links = "".join(f"{_link(file)}<br>\n" for release in project.releases for file in release.files)
    return f"<!DOCTYPE html>\n<html><body><h1>Links for {project.name}</h1>\n{links}</body></html>\n".encode()


def _file(file: File) -> dict[str, Any]:
    metadata = {"sha256": file.metadata_sha256} if file.metadata_sha256 else False
    return {
        "core-metadata": metadata,
        "data-dist-info-metadata": metadata,
        "filename": file.filename,
        "hashes": {"sha256": file.sha256},
        "provenance": None,
        "requires-python": file.requires_python,
        "size": file.size,
        "upload-time": file.upload_time,
        "url": file.url,
        "yanked": (file.yanked_reason or True) if file.yanked else False,
    }


def _link(file: File) -> str:
    said = {
        "data-requires-python": file.requires_python,
        "data-yanked": (file.yanked_reason or "") if file.yanked else None,
        "data-core-metadata": file.metadata_sha256 and f"sha256={file.metadata_sha256}",
    }
    attributes = "".join(f' {name}="{html.escape(value)}"' for name, value in said.items() if value is not None)
    return f'<a href="{file.url}#sha256={file.sha256}"{attributes}>{file.filename}</a>'
