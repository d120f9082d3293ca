"""The files themselves, those that the server has: whole, in parts, and what the pages say of them."""

import hashlib
import io
import zipfile
from urllib.parse import urlsplit

import pytest

from tests.conformance.index import Index


@pytest.mark.must
def test_pep503_hashes_are_those_of_the_files(index: Index) -> None:
    checked = 0
    for anchor in index.own_anchors():
        kind, _, digest = anchor["fragment"].partition("=")
        if kind in hashlib.algorithms_guaranteed:
            assert hashlib.new(kind, index.fetch(urlsplit(anchor["url"]).path)).hexdigest() == digest
            checked += 1
    if not checked:
        index.lacks("a file with a hash")


@pytest.mark.must
def test_pep700_sizes_are_those_of_the_files(index: Index) -> None:
    sizes = {file["filename"]: file["size"] for file in index.json_files() if "size" in file}
    told = [anchor for anchor in index.own_anchors() if anchor["text"].strip() in sizes]
    if not told:
        index.lacks("a file with a size")
    for anchor in told:
        assert len(index.fetch(urlsplit(anchor["url"]).path)) == sizes[anchor["text"].strip()]


@pytest.mark.must
def test_pep658_metadata_beside_a_wheel_are_the_wheels_own(index: Index) -> None:
    names = ("data-core-metadata", "data-dist-info-metadata")
    told = [(anchor, next((anchor[name] for name in names if name in anchor), None)) for anchor in index.own_anchors()]
    described = [(anchor, said) for anchor, said in told if said is not None]
    if not described:
        index.lacks("a file whose metadata stand apart")
    for anchor, said in described:
        path = urlsplit(anchor["url"]).path
        metadata = index.fetch(f"{path}.metadata")
        kind, _, digest = said.partition("=")
        assert said == "true" or hashlib.new(kind, metadata).hexdigest() == digest
        with zipfile.ZipFile(io.BytesIO(index.fetch(path))) as wheel:
            (inside,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA") and name.count("/") == 1]
            assert wheel.read(inside) == metadata


@pytest.mark.house
def test_pep658_some_wheel_has_its_metadata_beside_it(index: Index) -> None:
    assert any("data-core-metadata" in anchor for anchor in index.own_anchors())


@pytest.mark.must
def test_rfc9110_9_3_2_head_of_a_file_is_get_without_its_body(index: Index) -> None:
    wheel = index.a_wheel()
    head = index.ask(wheel, "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) == len(index.fetch(wheel))


@pytest.mark.house
def test_rfc9110_14_2_parts_of_a_file_can_be_had(index: Index) -> None:
    wheel = index.a_wheel()
    whole = index.fetch(wheel)
    assert index.ask(wheel, "HEAD").headers.get("accept-ranges") == "bytes"
    for wanted, part in (("5-9", whole[5:10]), ("-7", whole[-7:]), (f"{len(whole) - 3}-", whole[-3:])):
        reply = index.ask(wheel, Range=f"bytes={wanted}", Accept_Encoding="identity")
        assert (reply.status, reply.body) == (206, part)
        assert reply.headers["content-range"].endswith(f"/{len(whole)}")
    assert index.ask(wheel, Range=f"bytes={len(whole)}-").status == 416


@pytest.mark.house
def test_rfc9110_8_4_a_wheel_is_never_compressed_again(index: Index) -> None:
    wheel = index.a_wheel()
    reply = index.ask(wheel, Accept_Encoding="gzip, br")
    assert "content-encoding" not in reply.headers
    assert reply.body == index.fetch(wheel)


@pytest.mark.should
def test_rfc9110_13_1_2_a_file_is_not_sent_again(index: Index) -> None:
    wheel = index.a_wheel()
    etag = index.ask(wheel, "HEAD").headers.get("etag")
    assert etag, "there is no ETag"
    assert index.ask(wheel, If_None_Match=etag).status == 304


@pytest.mark.must
def test_rfc9110_15_5_5_an_absent_file_is_absent(index: Index) -> None:
    assert index.ask(index.a_wheel().replace(".whl", "x.whl")).status == 404
