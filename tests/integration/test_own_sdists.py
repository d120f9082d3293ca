"""Sdists of one's own become releases of private projects, and of nothing else; real database, upstream and servers."""

import hashlib
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError

import pytest

from piwheels_builder.builder.download import download
from piwheels_builder.catalogue.own_sdists import OwnSdists
from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.catalogue.sync import Ways, sync
from piwheels_builder.catalogue.sync_report import SyncReport
from piwheels_builder.catalogue.upstream import UpstreamIndex
from piwheels_builder.db.embedded import EmbeddedDatabase
from piwheels_builder.errors import BadInput
from piwheels_builder.index.serve import Site, answer
from piwheels_builder.queue.batch import Sdist
from tests.support.fleet import BOOKWORM, Fleet
from tests.support.published import nginx_serving, public_directory
from tests.support.sdists import make_sdist
from tests.support.upstream import Upstream, serve_upstream

INDEX = "http://index.example"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serve_upstream() as server:
        yield server


@pytest.fixture
def fleet(database: EmbeddedDatabase) -> Fleet:
    fleet = Fleet(database)
    fleet.add_builder("pi", BOOKWORM)
    return fleet


def put(directory: Path, name: str, version: str, filename: str | None = None, more: str = "") -> Path:
    stem = f"{name}-{version}"
    told = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: >=3.7\n{more}"
    return make_sdist(directory / (filename or f"{stem}.tar.gz"), {f"{stem}/PKG-INFO": told})


class Catalogue:
    def __init__(self, fleet: Fleet, upstream: Upstream, directory: Path) -> None:
        self.fleet, self.upstream, self.directory = fleet, upstream, directory

    def sync(self, *, listed: list[str] | str = "", check: bool = False) -> SyncReport:
        own = OwnSdists.read(str(self.directory), INDEX, ["Station_Control"])
        policy = Policy.read("missing", listed or [], "all", sorted(own.projects))
        with UpstreamIndex(self.upstream.url, backoff_seconds=0.01) as index:
            return sync(self.fleet.database.conninfo("piwheels_dispatcher"), index, policy, ways=Ways(check, own=own))

    def files(self) -> list[tuple[str, str, str]]:
        return self.fleet.ask("SELECT filename, url, sha256 FROM upstream_file ORDER BY filename")

    def states(self) -> dict[str, str]:
        return dict(self.fleet.ask("SELECT spelling, state::text FROM build JOIN release USING (release_id)"))


@pytest.fixture
def catalogue(fleet: Fleet, upstream: Upstream, tmp_path: Path) -> Catalogue:
    return Catalogue(fleet, upstream, tmp_path)


@pytest.mark.parametrize("listed", [[], "all"])
def test_they_are_wanted_and_upstreams_of_the_name_never_are(
    catalogue: Catalogue, upstream: Upstream, tmp_path: Path, listed: list[str] | str
) -> None:
    sdist = put(tmp_path, "station-control", "1.0", "station_control-1.0.tar.gz")
    upstream.add_sdist("station-control", "9.9")
    assert catalogue.sync(listed=listed, check=True) and catalogue.files() == []
    catalogue.sync(listed=listed)
    sha256 = hashlib.sha256(sdist.read_bytes()).hexdigest()
    assert catalogue.files() == [(sdist.name, f"{INDEX}/sdists/{sdist.name}", sha256)]
    assert catalogue.states() == {"1.0": "pending"}
    assert not catalogue.sync(listed=listed)
    sdist.unlink()
    catalogue.sync(listed=listed)
    assert catalogue.files() == [] and catalogue.states() == {"1.0": "skipped"}


def test_what_is_refused_stops_nothing_else(catalogue: Catalogue, upstream: Upstream, tmp_path: Path) -> None:
    upstream.add_sdist("docopt", "1.0")
    put(tmp_path, "docopt", "6.6.6")
    (tmp_path / "notes.txt").write_text("no sdist")
    put(tmp_path, "station-control", "1.0")
    failures = catalogue.sync(listed=["docopt"]).failures
    assert "add docopt to fleet_private_projects" in str(failures["docopt-6.6.6.tar.gz"])
    assert "rename it" in str(failures["notes.txt"]) and len(failures) == 2
    assert catalogue.states() == {"1.0": "pending"} and len(catalogue.files()) == 2


def test_a_changed_file_is_refused_with_what_to_do(catalogue: Catalogue, tmp_path: Path) -> None:
    put(tmp_path, "station-control", "1.0")
    catalogue.sync()
    before = catalogue.files()
    put(tmp_path, "station-control", "1.0", more="Summary: changed\n")
    put(tmp_path, "station-control", "2.0")
    assert "a version of its own" in str(catalogue.sync().failures["station-control"])
    assert catalogue.files() == before


@pytest.mark.parametrize("said", ["Name: other\nVersion: 1.0\n", "Name: station-control\nVersion: 1.1\n", "", None])
def test_filename_and_metadata_must_agree(tmp_path: Path, said: str | None) -> None:
    path = tmp_path / "station-control-1.0.tar.gz"
    if said is None:
        path.write_bytes(b"\x1f\x8bbroken")
    else:
        make_sdist(path, {"station-control-1.0/PKG-INFO": said})
    with pytest.raises(BadInput, match=r"station-control-1\.0\.tar\.gz"):
        OwnSdists.read(str(tmp_path), INDEX, ["station-control"]).page("station-control")  # type: ignore[arg-type]


def test_a_missing_directory_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="fleet_own_sdists"):
        OwnSdists.read(str(tmp_path / "gone"), INDEX, [])


def test_builders_fetch_them_from_nginx(tmp_path: Path) -> None:
    with public_directory() as place:
        own = place / "own"
        own.mkdir()
        path = put(own, "station-control", "1.0")
        (own / "notes.txt").write_text("nobody's")
        (place / "published").mkdir()
        with nginx_serving(place / "published", place, "http://upstream.example/simple", index_own_sdists=str(own)) as url:
            listed = OwnSdists.read(str(own), url, ["station-control"]).page("station-control").files[0]  # type: ignore[arg-type]
            sdist = Sdist(listed.filename, listed.url, listed.sha256, listed.size)
            assert download(sdist, tmp_path / "fetched") == hashlib.sha256(path.read_bytes()).hexdigest()
            for other in ("notes.txt", "../published/x.tar.gz", "%2e%2e/x.tar.gz"):
                with pytest.raises(HTTPError, match="404"):
                    urllib.request.urlopen(f"{url}/sdists/{other}")


def test_the_trial_server_has_them_where_it_is_told_so(tmp_path: Path) -> None:
    path = put(tmp_path, "station-control", "1.0")
    site = Site(tmp_path / "published", "http://upstream.example/simple", sdists=tmp_path)
    assert answer(site, f"/sdists/{path.name}", "").file == path
    assert answer(replace(site, sdists=None), f"/sdists/{path.name}", "").status == 404
    assert answer(site, "/sdists/../x.tar.gz", "").status == 404
