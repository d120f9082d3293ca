"""What strangers write, made fit for a column of text."""

from typing import TypeVar

Text = TypeVar("Text", str, str | None)


def storable(text: Text) -> Text:
    """The text as PostgreSQL holds it: without NUL, and without lone surrogates (of JSON, or of bytes that were no UTF-8)."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
