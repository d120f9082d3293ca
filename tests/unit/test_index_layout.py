"""Paths and URLs of the published tree: one component each, whatever a name or filename says."""

import pytest

from piwheels_builder.errors import BadInput
from piwheels_builder.index.layout import SimpleRoot, checked_wheel_filename, shard, wheel_path, wheel_url


@pytest.mark.parametrize(("project", "expected"), [("flask", "fl"), ("a", "a"), ("a-b", "a-"), ("42", "42"), ("x1", "x1")])
def test_shards(project: str, expected: str) -> None:
    assert shard(project) == expected


@pytest.mark.parametrize(
    "project", ["", ".", "..", "-", "a-", "-a", "a--b", "Flask", "a_b", "a.b", "a/b", "a b", "ä", "a\n", "%2e"]
)
def test_names_that_are_not_normalized_have_no_place(project: str) -> None:
    with pytest.raises(BadInput, match="not a normalized project name"):
        shard(project)


@pytest.mark.parametrize(
    "filename",
    [
        "demo-1.0-py3-none-any.whl",
        "demo-1.0-1local-py3-none-any.whl",
        "demo-1!2.0+local.7-py2.py3-none-any.whl",
        "Demo_X.y-1.0rc1-cp311-abi3-manylinux_2_17_armv7l.manylinux2014_armv7l.whl",
    ],
)
def test_filenames_of_wheels(filename: str) -> None:
    assert str(wheel_path("demo", filename)) == f"wheels/de/demo/{filename}"


@pytest.mark.parametrize(
    "filename",
    [
        "",
        "demo.whl",
        "demo-1.0.tar.gz",
        "demo-1.0-py3-none-any.whl.metadata",
        "../demo-1.0-py3-none-any.whl",
        "/etc/demo-1.0-py3-none-any.whl",
        ".demo-1.0-py3-none-any.whl",
        "demo-1.0-py3-none-any/../x.whl",
        "demo-1.0-py3-none-a ny.whl",
        "demo-1.0-py3-none-any\n.whl",
        "demo-1.0-py3-none-any%00.whl",
        "demo-1.0-py3-none-any?x.whl",
        'demo-1.0-py3-none-"any.whl',
        "démo-1.0-py3-none-any.whl",
        "demo-eins-py3-none-any.whl",
        f"demo-1.0-py3-none-{'a' * 300}.whl",
    ],
)
def test_anything_else_is_refused(filename: str) -> None:
    with pytest.raises(BadInput):
        checked_wheel_filename(filename)


def test_urls_are_relative_to_the_page_and_quoted() -> None:
    filename = "demo-1.0+local-py3-none-any.whl"
    assert wheel_url("demo", filename) == "/wheels/de/demo/demo-1.0%2Blocal-py3-none-any.whl"


def test_only_known_os_releases_have_a_root() -> None:
    with pytest.raises(BadInput, match="not an OS release"):
        SimpleRoot("../etc")
