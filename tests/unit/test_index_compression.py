"""What the published tree is compressed by: any gunzip reads it, and neither name nor time stands in it."""

import gzip
import importlib.util
import time

import pytest

from piwheels_builder.index import compression

PAGE = b'{"filename":"demo-1.0-py3-none-any.whl"},' * 500


@pytest.mark.parametrize("program", ["ISA-L", "zlib"])
def test_a_page_is_gzip_and_always_the_same(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if program == "zlib":
        monkeypatch.setattr("piwheels_builder.index.compression.igzip", None)
    elif importlib.util.find_spec("isal") is None:
        pytest.skip("ISA-L has no wheel for this machine")
    first = compression.compressed(PAGE)
    assert gzip.decompress(first) == PAGE
    assert len(first) < len(PAGE) / 20
    monkeypatch.setattr(time, "time", lambda: 2e9)
    assert compression.compressed(PAGE) == first
    # No flags, no time (RFC 1952, 2.3.1).
    assert first[:8] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00"
