"""Bytes of a project's page in JSON: ours beside upstream's own, of the same files, plain and compressed alike.

    .venv/bin/python -m bench.page_size [PROJECT ...]

Asks the upstream index for each page once. Ours is rendered and compressed as publication does it; so is upstream's compressed,
however it was sent. Exit code 1 where all of ours together have more than 1.1 times upstream's bytes, in either form.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import requests
from packaging.utils import NormalizedName, canonicalize_name

from piwheels_builder.catalogue.pages import JSON_TYPE, decode_page
from piwheels_builder.catalogue.pip_index import configured_index
from piwheels_builder.index.compression import compressed
from piwheels_builder.index.pages import PageFile, ProjectPage, page_json

MOST = 1.1
RELEASES = Path(__file__).with_name("releases.txt")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("projects", nargs="*", metavar="PROJECT", help="default: those of bench/releases.txt")
    names = parser.parse_args().projects or _benchmarked()
    sums = [0, 0, 0, 0]
    with requests.Session() as session:
        agent = f"piwheels-builder/{version('piwheels-builder')}"
        session.headers.update({"Accept": JSON_TYPE, "User-Agent": agent})
        for name in names:
            sizes = _sizes(session, canonicalize_name(name))
            sums = [sum(pair) for pair in zip(sums, sizes, strict=True)]
            print(_line(name, sizes))
    print(_line("all", sums))
    return int(sums[1] > MOST * sums[0] or sums[3] > MOST * sums[2])


def _line(name: str, sizes: Sequence[int]) -> str:
    theirs, ours, theirs_packed, ours_packed = sizes
    plain = f"plain {theirs:10,} {ours:10,}  {ours / theirs:.2f} x"
    packed = f"compressed {theirs_packed:9,} {ours_packed:9,}  {ours_packed / theirs_packed:.2f} x"
    return f"{name:20} upstream's, ours: {plain}, {packed}"


def _sizes(session: requests.Session, name: NormalizedName) -> tuple[int, int, int, int]:
    """Of upstream's page and of ours, plain, then compressed."""
    answer = session.get(f"{configured_index().rstrip('/')}/{name}/", timeout=30)
    answer.raise_for_status()
    theirs = answer.content
    page = decode_page(name, theirs, answer.headers["Content-Type"], answer.url)
    assert page is not None, "asked for without a serial"
    ours = page_json(ProjectPage(name, tuple(PageFile(*file) for file in page.files), page.versions))
    return len(theirs), len(ours), len(compressed(theirs)), len(compressed(ours))


def _benchmarked() -> list[str]:
    lines = (line.split() for line in RELEASES.read_text().splitlines() if line and not line.startswith("#"))
    return sorted({words[1].partition("==")[0] for words in lines if words[0] in ("pure", "compiled")})


if __name__ == "__main__":
    sys.exit(main())
