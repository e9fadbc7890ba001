"""The file meta of a Part 10 file, which is believed once (PS3.10 7.1)."""

from __future__ import annotations

from io import BytesIO
from typing import BinaryIO, Final

_PREAMBLE: Final = 132
_LENGTH: Final = b"\x02\x00\x00\x00UL\x04\x00"
_GROUP: Final = b"\x02\x00"
_LONG: Final = frozenset({b"OB", b"UN", b"OW", b"SQ", b"UT"})


def once(file: BinaryIO) -> BinaryIO:
    """Return a file without the elements of group 0002 that its data set begins with.

    They have no place there (PS3.7 6.3.1), and some senders leave them in. A parser that takes
    them for more of the file meta believes them, against what the writer of the file knew.

    Parameters
    ----------
    file
        At its beginning, where it is returned too.
    """
    head = file.read(_PREAMBLE + 12)
    stop = len(head)
    if head[128:132] == b"DICM" and head[_PREAMBLE : _PREAMBLE + 8] == _LENGTH:
        stop += int.from_bytes(head[-4:], "little")
        file.seek(stop)
        if file.read(2) == _GROUP:
            file.seek(stop)
            rest = file.read()
            file.seek(0)
            return BytesIO(file.read(stop) + rest[_skip(rest) :])
    file.seek(0)
    return file


def _skip(rest: bytes) -> int:
    """Return how many bytes the elements of group 0002 take, of either kind of VR."""
    at = 0
    while rest[at : at + 2] == _GROUP and at + 8 <= len(rest):
        vr = rest[at + 4 : at + 6]
        if vr in _LONG:
            at += 12 + int.from_bytes(rest[at + 8 : at + 12], "little")
        elif vr.isalpha() and vr.isupper():
            at += 8 + int.from_bytes(rest[at + 6 : at + 8], "little")
        else:
            at += 8 + int.from_bytes(rest[at + 4 : at + 8], "little")
    return min(at, len(rest))
