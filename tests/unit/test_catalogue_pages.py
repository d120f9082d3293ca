"""Decoding project pages: what the PEPs allow is understood, what is no page is named."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from piwheels_builder.catalogue.offered import Page
from piwheels_builder.catalogue.pages import HTML_TYPES, JSON_TYPE, decode_page
from piwheels_builder.errors import UpstreamError

DEMO = canonicalize_name("demo")
URL = "http://upstream.invalid/simple/demo/"
SHA256 = "ab" * 32


def page(files: list[dict[str, Any]] | None = None, **fields: Any) -> Page | None:
    data = {"meta": {"api-version": "1.1", "_last-serial": 7}, "name": "demo", "files": files or [], **fields}
    return decode_page(DEMO, json.dumps(data).encode(), JSON_TYPE, URL)


def only_file(**fields: Any) -> Any:
    decoded = page([{"filename": "demo-1.0.tar.gz", "url": "demo-1.0.tar.gz", "hashes": {"sha256": SHA256}, **fields}])
    assert decoded is not None
    (file,) = decoded.files
    return file


def test_everything_a_page_says() -> None:
    file = only_file(
        **{
            "size": 12,
            "requires-python": ">=3.9",
            "yanked": "broken",
            "upload-time": "2026-01-02T03:04:05.678901Z",
            "core-metadata": {"sha256": SHA256.upper()},
            "provenance": "http://upstream.invalid/provenance",
        }
    )
    assert file.url == "http://upstream.invalid/simple/demo/demo-1.0.tar.gz"
    assert (file.sha256, file.size, file.requires_python, file.metadata_sha256) == (SHA256, 12, ">=3.9", SHA256)
    assert (file.yanked, file.yanked_reason) == (True, "broken")
    assert file.upload_time == datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    assert file.provenance == "http://upstream.invalid/provenance"


@pytest.mark.parametrize(
    ("said", "yanked", "reason"),
    [({}, False, None), ({"yanked": False}, False, None), ({"yanked": ""}, False, None), ({"yanked": True}, True, None)],
)
def test_yanked_as_pep_691_has_it(said: dict[str, Any], yanked: bool, reason: str | None) -> None:
    file = only_file(**said)
    assert (file.yanked, file.yanked_reason) == (yanked, reason)


def test_files_without_a_sha256_are_taken_without_one() -> None:
    assert only_file(hashes={"md5": "00" * 16}).sha256 is None


def test_a_file_listed_twice_counts_once_as_it_was_listed_last() -> None:
    files: list[dict[str, Any]] = [{"filename": "demo-1.0.tar.gz", "url": url, "hashes": {}} for url in ("first", "second")]
    decoded = page(files)
    assert decoded is not None
    assert [file.url for file in decoded.files] == ["http://upstream.invalid/simple/demo/second"]


def test_credentials_never_come_in() -> None:
    assert only_file(url="https://somebody:secret@files.invalid/demo-1.0.tar.gz").url == "https://files.invalid/demo-1.0.tar.gz"


def test_text_that_a_database_cannot_hold_is_made_to_fit() -> None:
    file = only_file(filename="demo\0.tar.gz", yanked="half a pair: \ud800")
    assert file.filename == "demo\ufffd.tar.gz"
    assert file.yanked_reason == "half a pair: ?"


@pytest.mark.parametrize("serial", [None, "x", -1, 10**30, [1], "²"])
def test_a_serial_that_is_no_number_is_none(serial: object) -> None:
    # pypi-simple refuses a list there; the rest it lets through.
    data: dict[str, Any] = {"meta": {"api-version": "1.1", "_last-serial": serial}}
    if isinstance(serial, list):
        with pytest.raises(UpstreamError):
            page(**data)
    else:
        decoded = page(**data)
        assert decoded is not None
        assert decoded.serial is None


def test_the_page_we_have_is_recognized_by_its_serial() -> None:
    body = json.dumps({"meta": {"api-version": "1.1", "_last-serial": 7}, "name": "demo", "files": []}).encode()
    assert decode_page(DEMO, body, JSON_TYPE, URL, known_serial=7) is None
    assert decode_page(DEMO, body, JSON_TYPE, URL, known_serial=6) is not None


@pytest.mark.parametrize(
    ("said", "status", "reason"),
    [
        ({}, "active", None),
        ({"project-status": {"status": "quarantined", "reason": "malware"}}, "quarantined", "malware"),
        ({"project-status": {"status": "of the future"}}, "active", None),
    ],
)
def test_project_status(said: dict[str, Any], status: str, reason: str | None) -> None:
    decoded = page(**said)
    assert decoded is not None
    assert (decoded.status, decoded.status_reason) == (status, reason)


def test_a_newer_minor_version_is_read_without_a_warning() -> None:
    assert page(meta={"api-version": "1.99"}) is not None


@pytest.mark.parametrize(
    ("body", "content_type", "words"),
    [
        (b"", JSON_TYPE, "not a project page"),
        (b"\x80\xff", JSON_TYPE, "not a project page"),
        (b"[]", JSON_TYPE, "an object"),
        (b"[" * 100_000, JSON_TYPE, "not a project page"),
        (b'{"meta": {}, "name": "demo", "files": []}', JSON_TYPE, "speaks simple API"),
        (b'{"meta": {"api-version": "2.0"}, "name": "demo", "files": []}', JSON_TYPE, "'2.0'"),
        (b'{"meta": {"api-version": "1.1"}, "files": []}', JSON_TYPE, "name"),
        (b'{"meta": {"api-version": "1.1"}, "name": "demo", "files": [{}]}', JSON_TYPE, "filename"),
        (b'{"meta": {"api-version": "1.1"}, "name": "other", "files": []}', JSON_TYPE, "page of 'other'"),
        (b'{"meta": {"api-version": "1.1"}, "name": "demo", "files": []}', "application/json", "application/json"),
        (b"<html>", "", "no content type"),
    ],
)
def test_what_is_no_page(body: bytes, content_type: str, words: str) -> None:
    with pytest.raises(UpstreamError, match=words) as raised:
        decode_page(DEMO, body, content_type, URL)
    assert not raised.value.temporary


@pytest.mark.parametrize("field", [{"size": -1}, {"size": 2**63}, {"hashes": {"sha256": "abc"}}, {"yanked": 3}])
def test_a_field_that_cannot_be_true_fails_the_page(field: dict[str, Any]) -> None:
    with pytest.raises(UpstreamError, match="not a project page"):
        only_file(**field)


@pytest.mark.parametrize("content_type", [*HTML_TYPES, "text/html; charset=utf-8"])
def test_html_is_a_degraded_page(content_type: str) -> None:
    body = f"""<!DOCTYPE html><a href="../../files/demo-1.0.tar.gz#sha256={SHA256}" data-requires-python="&gt;=3.9"
        data-yanked="">demo-1.0.tar.gz</a>"""
    decoded = decode_page(DEMO, body.encode(), content_type, URL)
    assert decoded is not None
    (file,) = decoded.files
    assert (file.filename, file.url) == ("demo-1.0.tar.gz", "http://upstream.invalid/files/demo-1.0.tar.gz")
    assert (file.sha256, file.requires_python, file.yanked, file.yanked_reason) == (SHA256, ">=3.9", True, None)
    assert (file.size, file.upload_time, decoded.serial, decoded.versions) == (None, None, None, ())
