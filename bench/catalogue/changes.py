"""An upstream index that lives: its projects as they are now, and what happens to them.

Of twenty changes thirteen are new releases; the others are what a sync must follow as well. Some need an earlier one (a yank, a
removal, a release of wheels alone) and are new releases until there was one. Which projects change follows from the seed too.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from random import Random

from bench.catalogue.generate import Catalogue, File, Project, Release

NEW, YANK, UNYANK, WHEEL_ONLY, LATE_SDIST, DELETION, REMOVAL, AGAIN = KINDS = (
    "new release",
    "yank",
    "un-yank",
    "new release without an sdist",
    "sdist after its wheel",
    "deleted release",
    "removed project",
    "registered again",
)
_TURNS = (*(NEW,) * 13, YANK, UNYANK, WHEEL_ONLY, LATE_SDIST, DELETION, REMOVAL, AGAIN)
#: What can only follow something, and what it follows.
_FOLLOWS = {UNYANK: YANK, LATE_SDIST: WHEEL_ONLY, AGAIN: REMOVAL}


@dataclass(frozen=True)
class Changed:
    """What happened to a project: ``kind`` is one of KINDS, ``version`` (canonical) the release it happened to."""

    project: str
    kind: str
    serial: int
    version: str | None = None

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


@dataclass
class LivingIndex:
    """All projects of a catalogue as they are now. ``serial`` is that of the last change of any."""

    catalogue: Catalogue
    serial: int = 0
    _now: dict[int, Project | None] = field(default_factory=dict)
    _awaiting: dict[str, list[int]] = field(default_factory=lambda: {kind: [] for kind in _FOLLOWS.values()})

    def __post_init__(self) -> None:
        self.serial = self.catalogue.serial

    def project(self, number: int) -> Project | None:
        """A project as it is now; None once it was removed."""
        return self._now[number] if number in self._now else self.catalogue.project(number)

    def has_changed(self, number: int) -> bool:
        """Whether anything happened to a project yet."""
        return number in self._now

    def serial_of(self, number: int) -> int | None:
        """The serial of a project's page; None once it was removed."""
        if number not in self._now:
            return self.catalogue.serial_of(number)
        now = self._now[number]
        return now and now.serial

    def change(self, projects: int) -> list[Changed]:
        """Let something happen to so many projects, to each one thing. Raises ValueError for more than half of those there are."""
        if not 0 <= projects <= self.catalogue.size.projects // 2:
            raise ValueError(f"{projects} projects cannot change: of {self.catalogue.size.projects}, half at most do")
        random = Random(f"{self.catalogue.seed} changes {self.serial}")
        earlier = {kind: list(numbers) for kind, numbers in self._awaiting.items()}
        touched: set[int] = set()
        changes: list[Changed] = []
        while len(changes) < projects:
            kind = _TURNS[len(changes) % len(_TURNS)]
            number, kind = self._subject(kind, earlier, random)
            if number in touched or (self.serial_of(number) is None) != (kind == AGAIN):
                continue
            touched.add(number)
            changes.append(self._apply(number, kind))
        return changes

    def _subject(self, kind: str, earlier: dict[str, list[int]], random: Random) -> tuple[int, str]:
        waiting = earlier.get(_FOLLOWS.get(kind, ""))
        if waiting:
            return waiting.pop(0), kind
        return random.randrange(self.catalogue.size.projects), NEW if kind in _FOLLOWS else kind

    def _apply(self, number: int, kind: str) -> Changed:
        before = self.project(number) or self.catalogue.project(number)._replace(releases=())
        self.serial += 1
        after, version, kind = _CHANGES[kind](before, self.serial)
        self._now[number] = after and after._replace(serial=self.serial)
        for follower, first in _FOLLOWS.items():
            if kind == first:
                self._awaiting[first].append(number)
            elif kind == follower and number in self._awaiting[first]:
                self._awaiting[first].remove(number)
        return Changed(before.name, kind, self.serial, version)


_Done = tuple[Project | None, str | None, str]


def _new_release(project: Project, serial: int) -> _Done:
    return _released(project, serial, NEW, ".tar.gz", "-py3-none-any.whl")


def _new_wheel_only(project: Project, serial: int) -> _Done:
    return _released(project, serial, WHEEL_ONLY, "-py3-none-any.whl")


def _released(project: Project, serial: int, kind: str, *ends: str) -> _Done:
    # A serial of its own for each version: what was deleted once never comes back under its name.
    version = f"{1 + max((int(release.spelling.split('.')[0]) for release in project.releases), default=0)}.{serial}"
    files = tuple(_file(project, version, end, serial) for end in ends)
    release = Release(len(project.releases), version, version, files)
    return project._replace(releases=(*project.releases, release)), version, kind


def _yank(project: Project, serial: int) -> _Done:
    return _said_of_newest(project, serial, YANK, lambda file: file._replace(yanked=True, yanked_reason="found to be broken"))


def _unyank(project: Project, serial: int) -> _Done:
    return _said_of_newest(project, serial, UNYANK, lambda file: file._replace(yanked=False, yanked_reason=None))


def _said_of_newest(project: Project, serial: int, kind: str, say: Callable[[File], File]) -> _Done:
    """Of the newest release with files that are otherwise yet; where there is none, there is a new release."""
    for place, release in reversed(list(enumerate(project.releases))):
        files = tuple(map(say, release.files))
        if files != release.files:
            return _with_files(project, place, files), release.version, kind
    return _new_release(project, serial)


def _late_sdist(project: Project, serial: int) -> _Done:
    for place, release in reversed(list(enumerate(project.releases))):
        if release.files and release.sdist is None:
            files = (*release.files, _file(project, release.spelling, ".tar.gz", serial))
            return _with_files(project, place, files), release.version, LATE_SDIST
    return _new_release(project, serial)


def _with_files(project: Project, place: int, files: tuple[File, ...]) -> Project:
    release = project.releases[place]._replace(files=files)
    return project._replace(releases=(*project.releases[:place], release, *project.releases[place + 1 :]))


def _deletion(project: Project, serial: int) -> _Done:  # noqa: ARG001 - as all changes
    return project._replace(releases=project.releases[:-1]), project.releases[-1].version if project.releases else None, DELETION


def _removal(project: Project, serial: int) -> _Done:  # noqa: ARG001 - as all changes
    return None, None, REMOVAL


def _registered_again(project: Project, serial: int) -> _Done:
    """Somebody else's project, under the same name."""
    after, version, _ = _new_release(project, serial)
    return after, version, AGAIN


_CHANGES: dict[str, Callable[[Project, int], _Done]] = {
    NEW: _new_release,
    WHEEL_ONLY: _new_wheel_only,
    YANK: _yank,
    UNYANK: _unyank,
    LATE_SDIST: _late_sdist,
    DELETION: _deletion,
    REMOVAL: _removal,
    AGAIN: _registered_again,
}


def _file(project: Project, version: str, end: str, serial: int) -> File:
    filename = f"{project.name.replace('-', '_')}-{version}{end}"
    digest = sha256(f"{serial} {filename}".encode()).hexdigest()
    is_wheel = end.endswith(".whl")
    uploaded = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    metadata = sha256(digest.encode()).hexdigest() if is_wheel else None
    return File(filename, version, "wheel" if is_wheel else "sdist", digest, 10_000, ">=3.8", uploaded, metadata)
