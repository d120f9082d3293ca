"""A fake API for each test."""

from collections.abc import Iterator
from pathlib import Path

import ansible.module_utils
import pytest

from tests.hosted_pi.fake import FakeApi

# Where an Ansible module, which is imported here, finds what it needs of ours.
ansible.module_utils.__path__.append(str(Path(__file__).parents[2] / "plugins" / "module_utils"))


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """Empty, without faults; a Pi takes 60 ms."""
    with FakeApi(seconds=0.06) as fake:
        yield fake


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine reaches others by is not asked for loopback."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
