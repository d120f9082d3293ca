"""What an attack is, and the sdists that most are made with."""

import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from textwrap import dedent

from piwheels_builder.states import Outcome
from tests.support.sdists import SETUPTOOLS


@dataclass(frozen=True)
class Places:
    """Where an attack finds what it must not reach: paths and addresses of the host, and never a secret."""

    #: A word that is nowhere else on this machine; ``key`` the same as a number.
    mark: str
    key: int
    home: str
    checkout: str
    real_checkout: str
    state: str
    #: The directories of a build in another slot.
    other_build: str
    outside: str
    tcp: int
    tcp6: int
    udp: int
    database: int
    abstract: str
    unix: str
    #: The number of a process of the same user, outside.
    process: int


#: The bytes of an sdist for these places.
Make = Callable[[Places], bytes]
#: Puts files onto an index of the attack's own, below this directory.
Offer = Callable[[Path], None]


@dataclass(frozen=True)
class Attack:
    """``tries`` says in a sentence what it is after. It must end as one of ``ends``, within ``seconds`` of wall time.

    ``then`` is a second sdist, built right after it in the same slot, that looks for what the first has left. With ``control`` the
    script is also run outside of any sandbox, where it must succeed: so we know that its success would be seen.
    """

    name: str
    tries: str
    make: Make
    ends: tuple[Outcome, ...]
    then: Make | None = None
    offer: Offer | None = None
    control: str | None = None
    #: What its log must say: that it really tried.
    says: str = ""
    seconds: float = 30.0
    build_seconds: float = 20.0
    #: Of limits.Limits, by name.
    limits: Mapping[str, int] = field(default_factory=dict)
    #: When upstream got it: an old one that today's tools refuse is tried with those of its day.
    uploaded: datetime | None = None
    #: In an environment that a warm parent may hold.
    warmable: bool = False


#: What every script begins with. It says SUCCEEDED in two pieces, so that a traceback that shows the line does not say it.
_PRELUDE = """\
import os, sys
W = {places}
def won(*what):
    print('ATTACK', 'SUCCEEDED:', *what, flush=True)
def lost(*what):
    print('refused:', *what, flush=True)
def tried(what, do, *arguments):
    try:
        answer = do(*arguments)
    except BaseException as error:
        return lost(what, type(error).__name__, str(error)[:200])
    print('got:', what, repr(answer)[:5000], flush=True)
    return answer
def read(path):
    return tried('read ' + path, lambda: open(path, 'rb').read(100000))
def write(path, text):
    def do():
        with open(path, 'a') as file:
            file.write(text)
    tried('write ' + path, do)
"""
_SETUP = "from setuptools import setup\nsetup(name='demo', version='1.0', py_modules=['demo'])\n"


def script_text(body: str, places: Places) -> str:
    return _PRELUDE.format(places=json.dumps(asdict(places))) + dedent(body)


def script(body: str, more: Mapping[str, str] | None = None, finish: str = _SETUP) -> Make:
    """An sdist whose setup.py does what ``body`` says, and then makes an honest wheel."""

    def make(places: Places) -> bytes:
        text = f"{script_text(body, places)}\n{finish}"
        files = {"pyproject.toml": SETUPTOOLS, "setup.py": text, "demo.py": "ANSWER = 42\n", **(more or {})}
        return tar_of({f"demo-1.0/{name}": content.encode() for name, content in files.items()})

    return make


def in_script(name: str, tries: str, body: str, *ends: Outcome, **rest: object) -> Attack:
    """An attack by setup.py. Without ``ends`` the release builds all the same: what it was after, it did not get."""
    return Attack(name, tries, script(body), ends or (Outcome.BUILT,), warmable=True, **rest)  # type: ignore[arg-type]


def provable(name: str, tries: str, body: str, *ends: Outcome, **rest: object) -> Attack:
    """The same, for a body that does no harm outside of the sandbox, and succeeds there."""
    return in_script(name, tries, body, *ends, control=body, **rest)


def files(content: Mapping[str, str | bytes]) -> Make:
    """An sdist with just these files below its directory."""

    def make(_: Places) -> bytes:
        return tar_of({f"demo-1.0/{name}": text.encode() if isinstance(text, str) else text for name, text in content.items()})

    return make


def tar_of(content: Mapping[str, bytes], members: Sequence[tarfile.TarInfo] = ()) -> bytes:
    """A .tar.gz of files by name, and then of members without content, or with zeros."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz", compresslevel=1, errors="surrogateescape") as archive:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for member in members:
            archive.addfile(member, io.BytesIO(b"\0" * member.size))
    return made.getvalue()
