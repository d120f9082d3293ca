"""What stands on a project's page, in HTML and in JSON."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

from tests.conformance.index import Index

STATUSES = ("active", "archived", "quarantined", "deprecated")


def version_of(index: Index, project: str) -> tuple[int, int]:
    major, minor = index.json(project)["meta"]["api-version"].split(".")
    return int(major), int(minor)


def at_least(index: Index, minor: int) -> Iterator[dict[str, Any]]:
    """The JSON pages of this version of the API, of which there is one."""
    pages = [index.json(project) for project in index.projects if version_of(index, project) >= (1, minor)]
    if not pages:
        index.lacks(f"a page of API 1.{minor}")
    yield from pages


@pytest.mark.must
def test_pep503_an_anchors_text_is_the_last_part_of_its_url(index: Index) -> None:
    for anchor in index.anchors():
        assert urlsplit(anchor["url"]).path.rpartition("/")[2].replace("%2B", "+") == anchor["text"].strip()


@pytest.mark.should
def test_pep503_a_url_tells_the_files_hash(index: Index) -> None:
    for anchor in index.anchors():
        assert re.fullmatch(r"sha256=[0-9a-f]{64}", anchor["fragment"]), anchor


@pytest.mark.must
def test_pep503_requires_python_is_escaped(index: Index) -> None:
    pages = [index.html(project).text for project in index.projects]
    said = [found for text in pages for found in re.findall(r'data-requires-python=(".*?"|\'.*?\')', text)]
    if not said:
        index.lacks("a file that requires a Python")
    assert [value for value in said if "<" in value or ">" in value] == []
    for anchor in index.anchors():
        SpecifierSet(anchor.get("data-requires-python", ""))


@pytest.mark.should
def test_pep592_a_yank_is_told_with_its_reason(index: Index) -> None:
    yanked = [anchor for anchor in index.anchors() if "data-yanked" in anchor]
    if not yanked:
        index.lacks("a yanked file")
    in_json = {file["filename"]: file["yanked"] for file in index.json_files() if file.get("yanked")}
    assert in_json == {anchor["text"].strip(): anchor["data-yanked"] or True for anchor in yanked}


@pytest.mark.should
def test_pep629_html_declares_its_version(index: Index) -> None:
    for page in (index.listing(), index.html(index.projects[0])):
        assert re.fullmatch(r"1\.\d+", page.metas.get("pypi:repository-version", "none"))


@pytest.mark.house
def test_pep833_html_is_of_its_last_version(index: Index) -> None:
    for page in (index.listing(), index.html(index.projects[0])):
        assert page.metas.get("pypi:repository-version") == "1.4"


@pytest.mark.house
def test_pep792_json_is_of_version_1_4(index: Index) -> None:
    assert {version_of(index, project) for project in index.projects} == {(1, 4)}


@pytest.mark.must
def test_pep691_project_detail_has_its_keys(index: Index) -> None:
    for project in index.projects:
        page = index.json(project)
        assert page["name"] == project
        assert isinstance(page["files"], list)
        for file in page["files"]:
            assert {"filename", "url", "hashes"} <= file.keys()
            assert isinstance(file["hashes"], dict)
            assert all(re.fullmatch(r"[0-9a-f]+", digest) for digest in file["hashes"].values())


@pytest.mark.must
def test_pep691_requires_python_is_not_escaped_in_json(index: Index) -> None:
    said = [file["requires-python"] for file in index.json_files() if file.get("requires-python")]
    if not said:
        index.lacks("a file that requires a Python")
    for value in said:
        SpecifierSet(value)


@pytest.mark.must
def test_pep691_both_forms_offer_the_same_files(index: Index) -> None:
    for project in index.projects:
        page = urljoin(index.url, f"{project}/")
        in_json = {(file["filename"], urljoin(page, file["url"])) for file in index.json(project)["files"]}
        anchors = index.html(project).anchors
        assert in_json == {(anchor["text"].strip(), urljoin(page, anchor["href"]).partition("#")[0]) for anchor in anchors}


@pytest.mark.must
def test_pep700_versions_are_those_of_the_files(index: Index) -> None:
    for page in at_least(index, 1):
        assert len(set(page["versions"])) == len(page["versions"])
        told = {str(version) for file in page["files"] if (version := _version(file["filename"]))}
        assert told <= set(page["versions"])


def _version(filename: str) -> object:
    try:
        return parse_wheel_filename(filename)[1] if filename.endswith(".whl") else parse_sdist_filename(filename)[1]
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None


@pytest.mark.must
def test_pep700_every_file_has_a_size(index: Index) -> None:
    for page in at_least(index, 1):
        assert [file["filename"] for file in page["files"] if not isinstance(file.get("size"), int)] == []


@pytest.mark.must
def test_pep700_upload_times_are_utc_by_the_one_format(index: Index) -> None:
    told = [file["upload-time"] for page in at_least(index, 1) for file in page["files"] if "upload-time" in file]
    if not told:
        index.lacks("a file that tells its upload time")
    for moment in told:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", moment)
        assert datetime.fromisoformat(moment).tzinfo is not None


@pytest.mark.house
def test_pep700_some_file_tells_its_upload_time(index: Index) -> None:
    assert any(file.get("upload-time") for file in index.json_files())


@pytest.mark.house
def test_pep714_metadata_are_named_in_json_by_the_new_key_and_the_old(index: Index) -> None:
    described = [file for file in index.json_files() if file.get("core-metadata")]
    if not described:
        index.lacks("a file whose metadata stand apart")
    assert [file["filename"] for file in described if file.get("data-dist-info-metadata") != file["core-metadata"]] == []


@pytest.mark.must
def test_pep714_both_forms_tell_the_same_of_metadata(index: Index) -> None:
    in_html = {anchor["text"].strip() for anchor in index.anchors() if "data-core-metadata" in anchor}
    in_json = {file["filename"] for file in index.json_files() if file.get("core-metadata")}
    if not in_html | in_json:
        index.lacks("a file whose metadata stand apart")
    assert in_html == in_json


@pytest.mark.must
def test_pep740_provenance_is_a_whole_url_or_none(index: Index) -> None:
    told = {file["filename"]: file["provenance"] for file in index.json_files() if file.get("provenance")}
    if not told:
        index.lacks("a file with provenance")
    assert all(urlsplit(url).scheme in ("http", "https") for url in told.values())
    in_html = {anchor["text"].strip(): anchor["data-provenance"] for anchor in index.anchors() if "data-provenance" in anchor}
    assert in_html == told


@pytest.mark.must
def test_pep792_status_stands_at_the_top_level_and_in_html(index: Index) -> None:
    told = {project: page["project-status"] for project in index.projects if "project-status" in (page := index.json(project))}
    if not told:
        index.lacks("a project that tells its status")
    for project, status in told.items():
        metas = index.html(project).metas
        assert status["status"] in STATUSES
        assert metas.get("pypi:project-status", "active") == status["status"]
        assert metas.get("pypi:project-status-reason") == status.get("reason")


@pytest.mark.must
def test_pep792_a_quarantined_project_offers_nothing(index: Index) -> None:
    of = [p for p in index.projects if index.json(p).get("project-status", {}).get("status") == "quarantined"]
    if not of:
        index.lacks("a quarantined project")
    for project in of:
        assert index.json(project)["files"] == []
        assert index.html(project).anchors == []


@pytest.mark.must
def test_pep792_an_archived_project_offers_its_files(index: Index) -> None:
    of = [p for p in index.projects if index.json(p).get("project-status", {}).get("status") == "archived"]
    if not of:
        index.lacks("an archived project")
    assert all(index.json(project)["files"] for project in of)
