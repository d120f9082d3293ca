"""The default upstream is the index-url of this host's pip, never an extra one."""

import os
from pathlib import Path

import pytest
from pypi_simple import PYPI_SIMPLE_ENDPOINT

from piwheels_builder.catalogue.pip_index import configured_index, pip_config_list
from piwheels_builder.errors import BadInput


@pytest.mark.parametrize(
    ("listing", "index"),
    [
        ("", PYPI_SIMPLE_ENDPOINT),
        ("global.extra-index-url='http://extra/simple'\nglobal.find-links='/wheels'", PYPI_SIMPLE_ENDPOINT),
        ("global.index-url='http://global/simple'", "http://global/simple"),
        ("global.index-url='http://global/simple'\ninstall.index-url='http://install/simple'", "http://install/simple"),
        (":env:.index-url='http://env/simple'\ninstall.index-url='http://install/simple'", "http://env/simple"),
        ("global.index-url='http://user:it\\'s=secret@global/simple'", "http://user:it's=secret@global/simple"),
        ("global.index-url=''", PYPI_SIMPLE_ENDPOINT),
        ("not a setting\nglobal.index-url=broken'", PYPI_SIMPLE_ENDPOINT),
    ],
)
def test_precedence(listing: str, index: str) -> None:
    assert configured_index(lambda: listing) == index


def test_the_real_pip_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    file = tmp_path / "pip.conf"
    file.write_text("[global]\nindex-url = http://file/simple\nextra-index-url = http://extra/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("PIP_QUIET", "3")
    assert configured_index() == "http://file/simple"
    monkeypatch.setenv("PIP_INDEX_URL", "http://env/simple")
    assert configured_index() == "http://env/simple"


def test_a_pip_that_cannot_tell_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "pip.conf"
    file.write_text("index-url = before any section\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    with pytest.raises(BadInput, match="upstream"):
        pip_config_list()
