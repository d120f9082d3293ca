"""Which modules of a wheel are imported before it is published."""

from pathlib import Path

import pytest

from piwheels_builder.builder.modules import modules_to_import
from tests.support.wheelmaking import pack, wheel_files

CASES = {
    "single files": (["fast.cpython-311-arm-linux-gnueabihf.so", "slow.py", "stable.abi3.so"], None, ["fast", "slow", "stable"]),
    "packages, whatever is in them": (["demo/__init__.py", "demo/fast.so", "demo/sub/__init__.py"], None, ["demo"]),
    "a compiled package": (["demo/__init__.cpython-311-x86_64-linux-gnu.so"], None, ["demo"]),
    "private ones beside public ones": (["demo.py", "_demo.so"], None, ["demo"]),
    "private ones alone": (["_demo.so"], None, ["_demo"]),
    "tests and examples": (["demo.py", "tests/__init__.py", "test_demo.py", "Examples/__init__.py"], None, ["demo"]),
    "a namespace package": (["google/protobuf/__init__.py", "google/protobuf/fast.so"], None, ["google.protobuf"]),
    "what top_level.txt names": (["demo.py", "other.py"], "demo\n", ["demo"]),
    "below a namespace that top_level.txt names": (["zope/interface/__init__.py", "other.py"], "zope\n", ["zope.interface"]),
    "of .data": (
        ["demo-1.0.data/platlib/demo.so", "demo-1.0.data/scripts/tool.py", "demo-1.0.data/purelib/b.py"],
        None,
        ["b", "demo"],
    ),
    "no identifiers": (["demo-tool.py", "2to3.py", "bin/tool", "demo.txt"], None, []),
    "data and libraries": (["demo.py", "demo.libs/libz.so.1", "share/x.txt"], None, ["demo"]),
}


@pytest.mark.parametrize(("names", "top_level", "expected"), CASES.values(), ids=CASES)
def test_modules_of_a_wheel(tmp_path: Path, names: list[str], top_level: str | None, expected: list[str]) -> None:
    files = wheel_files(tag="cp311-cp311-linux_armv7l", content=dict.fromkeys(names, b""))
    if top_level is not None:
        files["demo-1.0.dist-info/top_level.txt"] = top_level.encode()
    wheel = pack(tmp_path / "demo-1.0-cp311-cp311-linux_armv7l.whl", files)
    assert list(modules_to_import(wheel)) == expected


def test_a_wheel_of_thousands_of_modules(tmp_path: Path) -> None:
    wheel = pack(tmp_path / "demo-1.0-py3-none-any.whl", wheel_files(content={f"m{number}.py": b"" for number in range(3000)}))
    assert len(modules_to_import(wheel)) == 50
