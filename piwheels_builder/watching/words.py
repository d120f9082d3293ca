"""What strangers wrote, as a terminal may be given it."""

import re

#: Colours and cursor movements, whole (ECMA-48), those that begin with a C1 character too, and strings for the terminal (OSC, DCS).
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?|\x1b."
)


def one_line(text: str) -> str:
    """Without sequences that a terminal obeys; of what cannot be printed, or turns the direction of writing, a ``?`` is left."""
    text = _SEQUENCES.sub("", text).replace("\t", "    ")
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)
