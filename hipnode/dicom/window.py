"""A window that moves over the bytes of a data set, inflated where need be."""

from __future__ import annotations

import os
import time
import zlib
from dataclasses import dataclass
from typing import Final

from hipnode.errors import HeaderTooCostly

_FIRST_BYTES: Final = 16 * 1024
_MORE_BYTES: Final = 128 * 1024
_STEP_BYTES: Final = 16 * 1024**2


@dataclass(frozen=True, slots=True)
class Limits:
    """What the part of a data set before its pixels may cost.

    Attributes
    ----------
    size_bytes
        Its length, inflated.
    elements
        Its elements and items, at whatever depth; those of small sequences are not counted.
    depth
        Sequences in each other.
    seconds
        Of processor time.
    """

    size_bytes: int = 256 * 1024**2
    elements: int = 100_000
    depth: int = 32
    seconds: float = 5.0


class Source:
    """The bytes of a file from a place on; none are kept.

    Parameters
    ----------
    descriptor
        Of the file.
    start
        The place.
    inflate
        Whether they are deflated (PS3.5 A.5).
    """

    def __init__(self, descriptor: int, start: int, *, inflate: bool = False) -> None:
        self._descriptor = descriptor
        self._next = start
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS) if inflate else None

    def read(self, count: int) -> bytes:
        """Return up to ``count`` bytes; none at the end.

        Raises
        ------
        zlib.error
            If they cannot be inflated.
        """
        if self._inflater is None:
            return self._raw(count)
        while not self._inflater.eof:
            packed = self._inflater.unconsumed_tail or self._raw(_FIRST_BYTES)
            if plain := self._inflater.decompress(packed, count):
                return plain
            if not packed:
                break
        return b""

    def skip(self, count: int) -> bool:
        """Leave out ``count`` bytes; tell whether there were so many."""
        if self._inflater is None:
            self._next += count
            return self._next <= os.fstat(self._descriptor).st_size
        while count and (plain := self.read(min(count, _MORE_BYTES))):
            count -= len(plain)
        return not count

    def _raw(self, count: int) -> bytes:
        data = os.pread(self._descriptor, count, self._next)
        self._next += len(data)
        return data


class Window:
    """What is in sight of a source: ``data`` from ``at`` on.

    Parameters
    ----------
    source
        The bytes.
    limits
        How far the window may move, and for how long.
    """

    def __init__(self, source: Source, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._began_s = time.thread_time()
        self._passed = 0
        self.data = b""
        self.at = 0

    @property
    def position(self) -> int:
        """Where it stands, from the source's beginning."""
        return self._passed + self.at

    def check(self) -> None:
        """Go on only where the limits allow it.

        Raises
        ------
        HeaderTooCostly
            If it stands farther than it may, or has moved for too long.
        """
        limits = self._limits
        if self.position > limits.size_bytes:
            raise HeaderTooCostly(f"The header is longer than {limits.size_bytes} bytes.")
        if time.thread_time() - self._began_s > limits.seconds:
            raise HeaderTooCostly(f"The header takes more than {limits.seconds:g} s to read.")

    def want(self, count: int) -> bool:
        """Bring ``count`` bytes into sight; tell whether there are so many."""
        if len(self.data) - self.at >= count:
            return True
        self.check()
        self._passed += self.at
        parts, have = [self.data[self.at :]], len(self.data) - self.at
        while have < count:
            share = _MORE_BYTES if self._passed else _FIRST_BYTES
            more = self._source.read(max(share, count - have))
            if not more:
                break
            parts.append(more)
            have += len(more)
        self.data, self.at = b"".join(parts), 0
        return have >= count

    def skip(self, count: int) -> bool:
        """Move ``count`` bytes on; tell whether there were so many."""
        in_sight = len(self.data) - self.at
        if count <= in_sight:
            self.at += count
            return True
        self._passed += self.at + in_sight
        self.data, self.at = b"", 0
        rest = count - in_sight
        while rest:
            step = min(rest, _STEP_BYTES)
            self._passed += step
            self.check()
            if not self._source.skip(step):
                return False
            rest -= step
        return True
