"""Lines of a log: as they are searched, and as a person is shown them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

#: Lines are cut here before expressions are tried on them, in characters; and so many of the last lines are looked at.
_LONGEST_LINE = 1000
_MOST_LINES = 5000
#: What is shown of a line, in characters.
_LONGEST_SHOWN = 300
#: What compilers quote with where they may.
_QUOTES = str.maketrans("\u2018\u2019", "''")
_MARKS = re.compile(r"[\s^~]*")
#: Where things are inside the sandbox says nothing to who reads it.
_PLACES = re.compile(r"/env/lib/python[\d.]+/site-packages/|/build/src/[^/\s'\"]+/|(?<=')/build/src/(?=[^/]+')")
_EXCEPTION = re.compile(r"([A-Za-z_]\w*\.)*[A-Z]+[a-z]\w*: \S")
_EXIT = re.compile(r"SystemExit: (-?\d+|None|True|False)?$")
_SAYS_ERROR = re.compile(r"error|exception|fatal|failed|cannot|could not", re.IGNORECASE)
_EXIT_WITH = "SystemExit: "
#: In lines.
_LAST_WORDS, _LONGEST_EXIT = 12, 100
#: Every line in which a pattern may find something far from the end has one of these (tested); most lines of a long log have none.
_TELLING = re.compile(
    r"error|fail|fatal|cannot|can't|could ?n[o']t|\bnot?\b|unable|unavailable|unreachable|undefined|unknown|multiple"
    r"|invalid|required by|too large|exceeded|exhausted|out of memory|bad_alloc|exit status|getaddrinfo|name resolution|prompt"
    r"|getpass|do you have|\.p(yx|xd|xi):\d",
    re.IGNORECASE,
)
_TRACEBACK = "Traceback (most recent call last):"


@dataclass(frozen=True)
class Line:
    """``searched`` is ``text`` with plain quotes; for a SyntaxError, after the line of source that it is about."""

    text: str
    searched: str


def read(log: str) -> list[Line]:
    """The lines of a log that say something."""
    lines: list[Line] = []
    source = ""
    for raw in log.splitlines()[-_MOST_LINES:]:
        text = raw[:_LONGEST_LINE].strip()
        if _MARKS.fullmatch(text):
            continue
        about = f"{source}\n{text}" if "SyntaxError: " in text else text
        lines.append(Line(text, about.translate(_QUOTES)))
        source = text
    return lines


def telling(lines: Sequence[Line]) -> list[Line]:
    """Those of the lines that any pattern may find something in."""
    return [line for line in lines if _TELLING.search(line.searched)]


def last_words(lines: Sequence[Line]) -> Sequence[Line]:
    """What a release says as it gives up: what it exits with, however long, and a few lines at least."""
    count = _LAST_WORDS
    for number, line in enumerate(reversed(lines[-_LONGEST_EXIT:]), start=1):
        if line.text.startswith(_EXIT_WITH):
            count = max(count, number)
            break
    return lines[-count:]


def plain_error(lines: Sequence[Line]) -> str | None:
    """The last exception, else the last line that looks like an error, else the last line."""
    texts = [line.text for line in lines if not _EXIT.match(line.text)]
    tracebacks = [number for number, text in enumerate(texts) if text == _TRACEBACK]
    raised = [text for text in texts[tracebacks[-1] :] if _EXCEPTION.match(text)] if tracebacks else []
    exits = [text for text in texts if text.startswith(_EXIT_WITH)]
    errors = [text for text in texts if _SAYS_ERROR.search(text)]
    found = (exits or raised or errors or texts)[-1:]
    return shortened(found[0]) if found else None


def shortened(line: str, place: int = 0) -> str:
    """A line without the sandbox's directories, and of a long one the part around the character ``place``."""
    if len(line) > _LONGEST_SHOWN:
        start = max(0, min(place - 40, len(line) - _LONGEST_SHOWN))
        line = line[start : start + _LONGEST_SHOWN]
    return _PLACES.sub("", line).removeprefix(_EXIT_WITH).strip()
