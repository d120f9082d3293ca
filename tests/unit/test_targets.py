"""Which wheels serve which target."""

import pytest
from packaging.tags import parse_tag

from piwheels_builder.errors import BadInput
from piwheels_builder.queue.batch import Batch
from piwheels_builder.targets import Target

PI = Target("cp311", "armv7l", "bookworm")


@pytest.mark.parametrize(
    ("tags", "serves"),
    [
        ("py3-none-any", True),
        ("py2.py3-none-any", True),
        ("cp311-cp311-linux_armv7l", True),
        ("cp311-cp311-manylinux_2_17_armv7l.manylinux2014_armv7l", True),
        ("cp311-cp311-manylinux2014_armv7l", True),
        ("cp38-abi3-linux_armv7l", True),
        ("py3-none-linux_armv7l", True),
        ("cp311-none-any", True),
        ("cp311-cp311-manylinux_2_36_armv7l", True),
        ("cp311-cp311-manylinux_2_37_armv7l", False),
        ("cp311-cp311-linux_armv6l", False),
        ("cp311-cp311-linux_aarch64", False),
        ("cp311-cp311-musllinux_1_2_armv7l", False),
        ("cp312-cp312-linux_armv7l", False),
        ("cp312-abi3-linux_armv7l", False),
        ("py2-none-any", False),
        ("cp311-cp311-win_amd64", False),
    ],
)
def test_tags(tags: str, serves: bool) -> None:
    assert PI.is_served_by(parse_tag(tags)) is serves


@pytest.mark.parametrize(
    ("tags", "serves"),
    [
        ("pp39-pypy39_pp73-linux_x86_64", True),
        ("pp39-pypy39_pp73-manylinux_2_17_x86_64.manylinux2014_x86_64", True),
        ("py3-none-any", True),
        ("pp310-pypy310_pp73-linux_x86_64", False),
        ("cp39-cp39-linux_x86_64", False),
        ("cp38-abi3-linux_x86_64", False),
    ],
)
def test_tags_of_pypy(tags: str, serves: bool) -> None:
    assert Target("pp39", "x86_64", "bookworm").is_served_by(parse_tag(tags)) is serves


@pytest.mark.parametrize(
    ("requires_python", "admits"),
    [
        (None, True),
        ("", True),
        (">=3.11.4", True),
        (">=3.12", False),
        ("<3.11", False),
        ("!=3.11.*", False),
        (">=2.7,!=3.0.*", True),
        (">=3.6.*", True),
        ("python3", True),
    ],
)
def test_requires_python(requires_python: str | None, admits: bool) -> None:
    assert PI.is_admitted_by(requires_python) is admits


def test_abis_sort_as_numbers() -> None:
    abis = [Target(abi, "armv7l", "bookworm") for abi in ("cp313t", "cp39", "cp313", "cp311")]
    assert [target.python for target in sorted(abis, key=lambda target: target.abi_order)] == ["cp39", "cp311", "cp313", "cp313t"]


@pytest.mark.parametrize(
    "text", ["cp311", "cp311-armv7l", "py3-armv7l-bookworm", "cp311-arm-bookworm", "cp311-armv7l-buster", "a-b-c-d", ""]
)
def test_what_is_no_target_is_named(text: str) -> None:
    with pytest.raises(BadInput):
        Target.parse(text)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"lease_id": 1}', '{"lease_id": "x", "builder": "a", "builds": [{}]}', "{"]
)
def test_what_is_no_batch_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="not a batch"):
        Batch.from_json(text)
