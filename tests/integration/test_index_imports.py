"""What a builder says of its wheel's import and libraries, and what of it stands in the database and on pages."""

import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import arm
from tests.support.fleet import Fleet
from tests.support.published import IndexHost, public_directory
from tests.support.wheelmaking import make_wheel

TAG = "cp311-cp311-linux_armv7l"
BLAS = "libopenblas.so.0"


@pytest.fixture
def host(fleet: Fleet) -> Iterator[IndexHost]:
    with public_directory() as place:
        (place / "outbox").mkdir()
        yield IndexHost(fleet, place)


def linked(place: Path) -> bytes:
    """A shared library that needs libopenblas, one with a hostile name, and one of libc's."""
    needed = {"blas.so": BLAS, "odd.so": "libodd.so.1;reboot", "c.so": "libc.so.6"}
    for file, soname in needed.items():
        (place / file).write_bytes(arm.library(place, *arm.ARMV6, f"-Wl,-soname,{soname}"))
    return arm.library(place, *arm.ARMV6, "-Wl,--no-as-needed", *needed)


def deliver(host: IndexHost, content: dict[str, bytes], said: Any, result: str = "passed", detail: str | None = None) -> None:
    """A build whose builder says this of its wheel."""
    build_id = host.fleet.want("demo")
    batch = host.fleet.lease("pi1")
    assert batch is not None
    entry = host.outbox / f"{batch.lease_id}-{build_id}"
    entry.mkdir()
    wheel = make_wheel(entry, "demo", tag=TAG, content=content)
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    host.fleet.ask(
        "SELECT record_attempt(%s, %s, 'built', now(), 1.5, NULL, NULL, NULL, 'gcc', %s, %s, %s, its_import => %s,"
        " its_import_detail => %s, its_libraries => %s)",
        *(str(batch.lease_id), build_id, wheel.name, sha256, wheel.stat().st_size),
        *(result, detail, json.dumps(said)),
        role="builder_pi1",
    )


def files(host: IndexHost) -> list[dict[str, Any]]:
    page = host.tree / "bookworm/simple/de/demo.json.gz"
    page = page if page.exists() else host.tree / "simple/de/demo.json.gz"
    found: list[dict[str, Any]] = json.loads(gzip.decompress(page.read_bytes()))["files"]
    return [file for file in found if file["filename"].endswith(".whl")]


def html(host: IndexHost) -> str:
    (page,) = (page for page in host.tree.glob("**/simple/de/demo.html.gz"))
    return gzip.decompress(page.read_bytes()).decode()


def test_pages_say_what_the_index_host_found_and_its_builder_named(host: IndexHost, tmp_path: Path) -> None:
    deliver(host, {"a.so": linked(tmp_path)}, {BLAS: "libopenblas0-pthread", "libnever.so.1": "never"})
    assert host.publish().published == [f"demo-1.0-{TAG}.whl", "demo-1.0-cp311-cp311-linux_armv6l.whl"]
    # Of the wheel and of its twin.
    for file in files(host):
        assert file["_import"] == "passed"
        assert file["_libraries"] == {BLAS: "libopenblas0-pthread"}
        assert file["_apt"] == "sudo apt install libopenblas0-pthread"
    assert html(host).count("</a> <code>sudo apt install libopenblas0-pthread</code><br>") == 2


@pytest.mark.parametrize(
    "said", [{BLAS: "x; reboot"}, {BLAS: 3}, {BLAS: ["a"]}, {}, None, [BLAS], "text", {BLAS: "-y"}, {BLAS: "x" * 30000}], ids=repr
)
def test_packages_that_are_none(host: IndexHost, tmp_path: Path, said: Any) -> None:
    """No name of a package comes onto a page that a shell could take for anything else."""
    deliver(host, {"a.so": linked(tmp_path)}, said)
    host.publish()
    file = files(host)[0]
    assert file["_libraries"] == {BLAS: None}
    assert "_apt" not in file
    assert not {"reboot", "-y"} & set(html(host).split())


def test_a_failing_import_that_the_operator_wanted_is_marked(host: IndexHost) -> None:
    deliver(host, {"demo.py": b""}, {}, "failed", "import demo: ImportError")
    host.publish()
    assert [file["_import"] for file in files(host)] == ["failed"] * 2
    assert host.fleet.ask("SELECT DISTINCT import_result, import_detail, libraries FROM wheel") == [
        ("failed", "import demo: ImportError", {})
    ]


def test_builders_of_an_older_version_say_nothing(host: IndexHost) -> None:
    host.build("demo")
    host.publish()
    assert not {"_import", "_libraries", "_apt"} & set(files(host)[0])
