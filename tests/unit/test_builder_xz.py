"""Compressed files as strangers make them: read as lzma does, but within a bound of memory."""

import io
import lzma

import pytest

from piwheels_builder.builder.xz import XzReader

CONTENT = bytes(range(256)) * 1000


def read_whole(compressed: bytes) -> bytes:
    reader = XzReader(io.BytesIO(compressed))
    return b"".join(iter(lambda: reader.read(10_000), b""))


@pytest.mark.parametrize("form", [lzma.FORMAT_XZ, lzma.FORMAT_ALONE])
def test_whole_files(form: int) -> None:
    assert read_whole(lzma.compress(CONTENT, format=form)) == CONTENT


def test_streams_one_after_the_other() -> None:
    assert read_whole(lzma.compress(CONTENT) + b"\0" * 4 + lzma.compress(b"more")) == CONTENT + b"more"


def test_the_largest_level_that_xz_has_is_read() -> None:
    assert read_whole(lzma.compress(CONTENT, preset=9 | lzma.PRESET_EXTREME)) == CONTENT


def test_one_that_asks_for_more_memory_is_refused() -> None:
    hungry = lzma.compress(CONTENT, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 256 * 2**20, "preset": 0}])
    with pytest.raises(lzma.LZMAError, match=r"[Mm]emory"):
        read_whole(hungry)


def test_a_truncated_one_is_no_end() -> None:
    with pytest.raises(EOFError):
        read_whole(lzma.compress(CONTENT)[:-20])


def test_positions_lead_forwards_alone() -> None:
    reader = XzReader(io.BytesIO(lzma.compress(CONTENT)))
    assert reader.seek(1000) == reader.tell() == 1000
    assert reader.read(5) == CONTENT[1000:1005]
    assert reader.seek(10**9) == len(CONTENT)
    with pytest.raises(ValueError, match="backwards"):
        reader.seek(0)
