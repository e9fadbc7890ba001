"""The file meta of a Part 10 file, which is believed once (PS3.10 7.1)."""

from __future__ import annotations

import io
from typing import BinaryIO, Final, cast

_PREAMBLE: Final = 132
_LENGTH: Final = b"\x02\x00\x00\x00UL\x04\x00"
_GROUP: Final = b"\x02\x00"
_LONG: Final = frozenset({b"OB", b"UN", b"OW", b"SQ", b"UT"})
_MOST: Final = 64  # elements: the dictionary has fewer


def once(file: BinaryIO) -> BinaryIO:
    """Return a file without the elements of group 0002 that its data set begins with.

    They have no place there (PS3.7 6.3.1), and some senders leave them in. A parser that takes
    them for more of the file meta believes them, against what the writer of the file knew.

    Parameters
    ----------
    file
        At its beginning, where it is returned too.
    """
    if isinstance(file, _Without):
        return file
    head = file.read(_PREAMBLE + 12)
    stop = len(head)
    if head[128:132] == b"DICM" and head[_PREAMBLE : _PREAMBLE + 8] == _LENGTH:
        stop += int.from_bytes(head[-4:], "little")
        file.seek(stop)
        if file.read(2) == _GROUP and (length := _length(file, stop)):
            return cast("BinaryIO", _Without(file, stop, length))
    file.seek(0)
    return file


def _length(file: BinaryIO, start: int) -> int:
    """Return how many bytes the elements of group 0002 take from there, of either kind of VR."""
    at = start
    end = file.seek(0, io.SEEK_END)
    for _ in range(_MOST):
        file.seek(at)
        head = file.read(12)
        vr = head[4:6]
        if head[:2] != _GROUP or len(head) < 8:
            break
        if vr in _LONG:
            at += 12 + int.from_bytes(head[8:12], "little")
        elif vr.isalpha() and vr.isupper():
            at += 8 + int.from_bytes(head[6:8], "little")
        else:
            at += 8 + int.from_bytes(head[4:8], "little")
    return min(at, end) - start


class _Without(io.BufferedIOBase):
    """A file that lacks some bytes of another."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        self._file = file
        self._start = start
        self._length = length
        self._at = 0
        file.seek(0)

    def read(self, size: int | None = -1) -> bytes:
        """Read; to the end where no size is given."""
        whole = size is None or size < 0
        first = b""
        if self._at < self._start:
            left = self._start - self._at
            first = self._file.read(left if whole else min(left, size or 0))
            self._at += len(first)
        rest = b""
        if self._at >= self._start and (whole or len(first) < (size or 0)):
            self._file.seek(self._at + self._length)
            rest = self._file.read(-1 if whole else (size or 0) - len(first))
            self._at += len(rest)
        return first + rest

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, from the beginning or from here."""
        self._at = offset + (self._at if whence == io.SEEK_CUR else 0)
        if self._at < self._start:
            self._file.seek(self._at)
        return self._at

    def tell(self) -> int:
        """Return where it stands."""
        return self._at

    def seekable(self) -> bool:
        """It is."""
        return True

    def readable(self) -> bool:
        """It is."""
        return True
