"""uv's cache is emptied when it has grown large: nothing that builds need is lost with it."""

from pathlib import Path

import pytest

from piwheels_builder.builder import caches, uv
from piwheels_builder.builder.disk import tree_bytes
from piwheels_builder.states import Outcome
from tests.faults.whole_way import WARMABLE, offer_backend
from tests.support.sdists import make_yard
from tests.support.simple_index import offer, serving
from tests.support.wheelmaking import make_wheel

LIMIT = 2**20
#: More than that on the disk.
CONTENT = {f"large/part{number}.txt": b"x" * 20_000 for number in range(60)}


def test_a_cache_that_grew_too_large_is_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "LARGEST_CACHE", LIMIT)
    yard = make_yard(tmp_path)
    offer_backend(tmp_path / "index")
    offer(tmp_path / "index", make_wheel(tmp_path, "large", "1.0", content=CONTENT))
    files = {"demo-1.0/pyproject.toml": WARMABLE}
    more = {"demo-1.0/pyproject.toml": WARMABLE.replace('"]', '", "large"]', 1)}
    cache = yard.workshop.uv.cache
    with serving(tmp_path / "index") as upstream:
        assert yard.build(files, upstream=upstream).attempt.outcome is Outcome.BUILT
        assert 0 < tree_bytes(cache) < LIMIT
        assert yard.build(more, upstream=upstream).attempt.outcome is Outcome.BUILT
        assert tree_bytes(cache) == 0
        assert len(list((yard.workshop.state_dir / "environments").iterdir())) == 2
        monkeypatch.setattr(uv.Uv, "run", None)
        for known in (files, more):
            assert yard.build(known, upstream=upstream).attempt.outcome is Outcome.BUILT
