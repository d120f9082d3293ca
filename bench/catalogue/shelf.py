"""All pages of a catalogue in one file, made once and kept, for a server that must cost less than who reads from it.

Making and sending a page costs the server three times as much processor time as reading it from here. 113,649 pages take 0.6 GB.
"""

import os
from array import array
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from bench.catalogue import VERSION
from bench.catalogue.generate import Catalogue
from bench.catalogue.pages import json_page

_CHUNK = 500


class Shelf:
    """The JSON pages of a catalogue as it was before any change; made in ``directory`` unless they are there."""

    def __init__(self, catalogue: Catalogue, directory: Path) -> None:
        file = directory / f"pages-{catalogue.size.name}-{catalogue.seed}-{VERSION}"
        ends = file.with_suffix(".ends")
        if not ends.exists():
            _write(catalogue, file, ends)
        self._ends = array("Q", ends.read_bytes())
        self._file = os.open(file, os.O_RDONLY)

    def page(self, number: int) -> bytes:
        """The page of a project."""
        begin = self._ends[number - 1] if number else 0
        return os.pread(self._file, self._ends[number] - begin, begin)


def _write(catalogue: Catalogue, file: Path, ends: Path) -> None:
    lengths = array("Q")
    with file.open("wb") as pages:
        for page in _pages(catalogue):
            pages.write(page)
            lengths.append(pages.tell())
    # What says where pages end is there only once all of them are.
    fresh = ends.with_suffix(".new")
    fresh.write_bytes(lengths.tobytes())
    fresh.rename(ends)


def _pages(catalogue: Catalogue) -> Iterator[bytes]:
    starts = range(0, catalogue.size.projects, _CHUNK)
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        for pages in pool.map(partial(_chunk, catalogue), starts):
            yield from pages


def _chunk(catalogue: Catalogue, start: int) -> list[bytes]:
    return [json_page(catalogue.project(number)) for number in range(start, min(start + _CHUNK, catalogue.size.projects))]
