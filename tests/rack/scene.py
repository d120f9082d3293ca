"""What a fault of the matrix may reach, and what it does there: acts that are proved to have hurt."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.rack.controller import Controller
from tests.rack.fleet import Fleet
from tests.rack.hosts import Host
from tests.rack.upstream import Release


@dataclass(frozen=True)
class Scene:
    """The rack in the middle of a run for some releases."""

    hosts: Mapping[str, Host]
    controller: Controller
    releases: Sequence[Release]

    @property
    def index(self) -> Host:
        return self.hosts["index"]

    @property
    def builder(self) -> Host:
        """The one that faults happen to."""
        return self.hosts["bookworm"]

    @property
    def builders(self) -> list[Host]:
        """All that take part."""
        return [self.hosts["bookworm"], self.hosts["trixie"]]

    @property
    def fleet(self) -> Fleet:
        return Fleet(self.index)

    @property
    def projects(self) -> list[str]:
        return [release.project for release in self.releases]


Act = Callable[[Scene], None]
Which = Callable[[Scene], Host]


def index(scene: Scene) -> Host:
    """Which host it happens to: the index host."""
    return scene.index


def builder(scene: Scene) -> Host:
    """Which host it happens to: a builder."""
    return scene.builder


def nothing(_: Scene) -> None:
    """No act."""


def soon(holds: Callable[[], bool], otherwise: str, seconds: float = 10) -> None:
    """Wait until something holds. Raises AssertionError: a fault that breaks nothing would make its cell a lie."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, otherwise
        time.sleep(0.1)
