"""The operator's words on pages, by the commands: what clients see of withdrawn, yanked and quarantined projects, and after."""

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from piwheels_builder.cli import main
from piwheels_builder.index.contents import PageRules
from tests.support.fleet import Fleet
from tests.support.published import IndexHost, public_directory

Said = Callable[..., tuple[int, str]]


@pytest.fixture
def host(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[IndexHost]:
    """demo is published; fleet.yml leads to its database."""
    settings = {
        "database": {"dispatcher": fleet.database.conninfo("piwheels_dispatcher")},
        "upstream": "http://upstream.invalid/simple",
    }
    (tmp_path / "fleet.yml").write_text(yaml.safe_dump(settings))
    monkeypatch.setenv("PIWHEELS_BUILDER_ETC", str(tmp_path))
    with public_directory() as place:
        (place / "outbox").mkdir()
        host = IndexHost(fleet, place)
        host.build("demo")
        host.publish()
        yield host


@pytest.fixture
def said(host: IndexHost, capsys: pytest.CaptureFixture[str]) -> Said:
    """Run a command and publish; its exit code and everything it printed."""

    def run(*arguments: str) -> tuple[int, str]:
        code = main(arguments)
        printed = capsys.readouterr()
        host.publish()
        return code, printed.out + printed.err

    return run


def page(host: IndexHost, project: str = "demo", kind: str = "json") -> Any:
    path = host.tree / f"simple/{project[:2]}/{project}.{kind}.gz"
    if not path.exists():
        return None
    text = gzip.decompress(path.read_bytes()).decode()
    return json.loads(text) if kind == "json" else text


def filenames(host: IndexHost, project: str = "demo") -> list[str]:
    return [file["filename"] for file in page(host, project)["files"]]


def test_a_withdrawn_wheel_leaves_its_page_and_keeps_its_url(host: IndexHost, said: Said) -> None:
    before = page(host)
    assert said("withdraw", "Demo==1.0", "--reason", "crashes <at> start")[0] == 0
    # Upstream's own file stays: the page is complete without ours.
    assert filenames(host) == ["demo-1.0.tar.gz"]
    assert page(host)["_withdrawn"] == [{"filename": "demo-1.0-py3-none-any.whl", "reason": "crashes <at> start"}]
    assert "<p>Withdrawn: demo-1.0-py3-none-any.whl: crashes &lt;at&gt; start</p>" in page(host, kind="html")
    assert (host.tree / "wheels/de/demo/demo-1.0-py3-none-any.whl").exists()
    assert said("withdraw", "demo==1", "--undo") == (
        0,
        "withdraw demo==1: taken back\nits page follows with the next publication (build.yml, or playbooks/publish.yml at once)\n",
    )
    assert page(host) == before


def test_what_is_built_after_a_withdrawal_is_published_until_it_is_withdrawn_as_well(host: IndexHost, said: Said) -> None:
    said("withdraw", "demo", "--reason", "crashes")
    host.rebuild("demo", text="mended")
    host.publish()
    assert filenames(host) == ["demo-1.0-1-py3-none-any.whl", "demo-1.0.tar.gz"]
    assert "noted" in said("withdraw", "demo", "--reason", "crashes")[1]
    assert filenames(host) == ["demo-1.0.tar.gz"]
    assert "nothing to change" in said("withdraw", "demo", "--reason", "crashes")[1]


def test_a_yanked_release_is_yanked_in_every_file(host: IndexHost, said: Said) -> None:
    said("yank", "demo==1.0", "--reason", "wrong <answers>")
    assert {file["filename"]: file["yanked"] for file in page(host)["files"]} == {
        "demo-1.0-py3-none-any.whl": "wrong <answers>",
        "demo-1.0.tar.gz": "wrong <answers>",
    }
    assert page(host, kind="html").count('data-yanked="wrong &lt;answers&gt;"') == 2
    said("yank", "demo==1.0", "--undo")
    assert [file["yanked"] for file in page(host)["files"]] == [False, False]


def test_a_quarantined_project_offers_nothing_even_where_we_held_nothing(host: IndexHost, said: Said) -> None:
    host.fleet.want("other")
    for project in ("demo", "other"):
        assert said("quarantine", project, "--reason", "malware")[0] == 0
        assert page(host, project)["files"] == []
        assert page(host, project)["project-status"] == {"status": "quarantined", "reason": "malware"}
        assert '<meta name="pypi:project-status-reason" content="malware">' in page(host, project, "html")
        said("quarantine", project, "--undo")
    assert len(filenames(host)) == 2
    assert page(host, "other") is None


def test_a_tree_that_is_made_again_keeps_the_words(host: IndexHost, said: Said) -> None:
    host.fleet.want("other")
    said("quarantine", "other", "--reason", "malware")
    (host.tree / "simple/ot/other.json.gz").unlink()
    host.publish(rerender=True)
    assert page(host, "other")["project-status"]["status"] == "quarantined"


def test_a_private_project_is_yanked_as_well(host: IndexHost, said: Said) -> None:
    host.rules = PageRules(frozenset({"demo"}))
    said("yank", "demo==1.0", "--reason", "no")
    assert [file["yanked"] for file in page(host)["files"]] == ["no"]


def test_what_was_said_of_a_release_comes_before_what_was_said_of_all(host: IndexHost, said: Said) -> None:
    said("yank", "demo", "--reason", "all of it")
    said("yank", "demo==1.0", "--reason", "this one")
    assert {file["yanked"] for file in page(host)["files"]} == {"this one"}


def test_what_cannot_be_said(said: Said) -> None:
    for arguments, code, what in (
        (("quarantine", "demo==1.0", "--reason", "x"), 64, "yank demo==1"),
        (("yank", "demo", "--reason", " "), 64, "clients read it"),
        (("yank", "--reason", "x"), 64, "say which"),
        (("yank", "demo==7", "--reason", "x"), 66, "piwheels-builder sync demo"),
        (("withdraw", "unheard", "--reason", "x"), 66, "piwheels-builder sync unheard"),
        (("yank", "demo", "--undo"), 0, "nothing to change"),
    ):
        ended, told = said(*arguments)
        assert (ended, what in told) == (code, True), told


def test_words_are_listed(said: Said) -> None:
    said("yank", "demo==1.0", "--reason", "wrong\x1banswers")
    said("yank", "demo==1.0", "--reason", "wrong answers")
    code, told = said("yank", "--list")
    assert code == 0
    assert told.startswith("demo==1: wrong answers (since ")
