"""Reads .xz and .lzma files with a bound on memory: the format lets a small file ask for 1.5 GiB, and LZMAFile knows no bound."""

import lzma
from typing import IO

#: What ``xz -9`` makes, the largest of its levels, needs 65 MiB.
_MOST_MEMORY = 96 * 2**20
_CHUNK = 64 * 1024


class XzReader:
    """The decompressed bytes, forwards only, as far as tarfile asks for them. Raises lzma.LZMAError, also for too much memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decompressor = _decompressor()
        self._position = 0

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        """Forwards. Raises ValueError for any other direction."""
        if position < self._position:
            raise ValueError("an archive that leads backwards")
        while self._position < position and self.read(min(_CHUNK, position - self._position)):
            pass
        return self._position

    def read(self, size: int) -> bytes:
        """So many bytes; fewer at the end. Raises EOFError where the file ends too soon."""
        pieces = []
        while size > 0 and (piece := self._some(size)):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def _some(self, most: int) -> bytes:
        while True:
            if self._decompressor.eof:
                # One stream may follow another; padding with NULs may stand between.
                rest = (self._decompressor.unused_data or self._file.read(_CHUNK)).lstrip(b"\0")
                if not rest:
                    return b""
                self._decompressor = _decompressor()
            else:
                rest = self._file.read(_CHUNK) if self._decompressor.needs_input else b""
                if self._decompressor.needs_input and not rest:
                    raise EOFError("the compressed file ends too soon")
            piece = self._decompressor.decompress(rest, most)
            if piece:
                self._position += len(piece)
                return piece


def _decompressor() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(memlimit=_MOST_MEMORY)
