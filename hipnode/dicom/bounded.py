"""A few attributes of a file's header, read within limits: the same values as pydicom's, or none.

pydicom keeps every element that it meets and inflates a deflated data set whole, so that a few
megabytes of header may cost a listener hundreds. Here a window moves over the header: large values
are passed over on disk, a deflated data set is inflated a piece at a time, sequences are counted
and not kept. What leaves room for interpretation is left to pydicom.

References
----------
PS3.5 7.1 (data elements), 7.5 (sequences), A.1 to A.3 and A.5 (transfer syntaxes).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Set as AbstractSet
from struct import Struct
from typing import Final

from pydicom import uid
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.filereader import ENCODED_VR
from pydicom.tag import BaseTag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from hipnode.dicom.values import mark_twice
from hipnode.dicom.window import Limits, Source, Window
from hipnode.errors import HeaderTooCostly

PIXELS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_TRANSFER_SYNTAX: Final = 0x00020010
_CHARACTER_SET: Final = 0x00080005
_UNDEFINED: Final = 0xFFFFFFFF
_ITEM: Final = 0xFFFEE000
_ITEM_END: Final = 0xFFFEE00D
_SEQUENCE_END: Final = 0xFFFEE0DD
_VRS: Final = {vr: (vr.decode(), vr.decode() in EXPLICIT_VR_LENGTH_32) for vr in ENCODED_VR}
"""By their bytes: the name, and whether the length has four bytes (PS3.5 Table 7.1-1)."""
_TERMS: Final = re.compile(rb"[A-Za-z0-9_ \\-]*\0?")
_MAX_VALUE_BYTES: Final = 0xFFFF
"""Of an attribute that is read: what a text or a number has room for in explicit VR."""
_SMALL_BYTES: Final = 4096
"""A sequence that is shorter can hold nothing dear but other sequences."""
_MAX_META_BYTES: Final = 65_536
_A_WHILE: Final = 1024


Raw = dict[int, tuple[str | None, bytes]]


class Elements:
    """The attributes that were asked for, as they came; `values.Reader` takes it for a data set.

    Parameters
    ----------
    wanted
        What was asked for.
    raw
        VR and value of each tag that was found.
    file_meta
        Those of group 0002.
    count
        How many elements and items there were before the pixels.
    """

    def __init__(
        self,
        wanted: AbstractSet[int],
        raw: Raw,
        file_meta: Elements | None = None,
        count: int = 0,
    ) -> None:
        self._wanted = wanted
        self._raw = raw
        self.file_meta = file_meta
        self.count = count

    def __contains__(self, tag: int) -> bool:
        if tag not in self._wanted:
            raise LookupError(f"{BaseTag(tag)} was not asked for")
        return tag in self._raw

    def get_item(self, tag: int) -> RawDataElement:
        """Return an element, undecoded."""
        vr, value = self._raw[tag]
        return RawDataElement(BaseTag(tag), vr, len(value), value, 0, vr is None, True)


class _Unclear(Exception):
    """It takes pydicom to tell what is meant."""


def read(descriptor: int, wanted: AbstractSet[int], limits: Limits) -> Elements | None:
    """Return the attributes of a file that are asked for; None to ask pydicom.

    Parameters
    ----------
    descriptor
        Of a whole file in the DICOM File Format, open for reading.
    wanted
        Tags of texts, UIDs, dates or numbers at the top level of the data set.
    limits
        What may be spent on it.

    Raises
    ------
    HeaderTooCostly
        If it takes more.
    """
    try:
        meta, start = _file_meta(descriptor)
        syntax = (meta.get_item(_TRANSFER_SYNTAX).value or b"").decode("ascii").rstrip("\0 ")
        source = Source(descriptor, start, inflate=syntax == uid.DeflatedExplicitVRLittleEndian)
        walk = _Walk(
            Window(source, limits),
            limits,
            implicit=syntax == uid.ImplicitVRLittleEndian,
            big=syntax == uid.ExplicitVRBigEndian,
        )
        raw = walk.top(wanted)
    except (_Unclear, zlib.error, UnicodeDecodeError):
        return None
    found = Elements(wanted, raw, meta, walk.count)
    mark_twice(found, walk.twice)
    return found


def _file_meta(descriptor: int) -> tuple[Elements, int]:
    """Return the file meta, and where it ends: only such as this node writes (PS3.10 7.1)."""
    limits = Limits(size_bytes=_MAX_META_BYTES)
    window = Window(Source(descriptor, 128), limits)
    if not window.want(16) or window.data[:12] != b"DICM\x02\0\0\0UL\x04\0":
        raise _Unclear
    stop = 16 + int.from_bytes(window.data[12:16], "little")
    window.at = 16
    walk = _Walk(window, limits, implicit=False, big=False)
    raw: Raw = {}
    while window.position < stop:
        head = walk.next(implicit=False)
        if head is None or head[0] >> 16 != 2 or head[0] in raw:
            raise _Unclear
        raw[head[0]] = head[1], walk.value(head[2])
    if window.position != stop or _TRANSFER_SYNTAX not in raw:
        raise _Unclear
    return Elements({_TRANSFER_SYNTAX, _CHARACTER_SET}, raw), 128 + stop


class _Walk:
    """The way over the elements of a data set, as pydicom goes it."""

    def __init__(self, window: Window, limits: Limits, *, implicit: bool, big: bool) -> None:
        self._window = window
        self._limits = limits
        self._implicit = implicit
        order = ">" if big else "<"
        self._plain = Struct(f"{order}HHL").unpack_from
        self._explicit = Struct(f"{order}HH2sH").unpack_from
        self._length = Struct(f"{order}L").unpack_from
        self._item = Struct(f"{order}HH").pack(_ITEM >> 16, _ITEM & 0xFFFF)
        self._granted = self._left = min(_A_WHILE, limits.elements)  # elements
        self.twice: set[int] = set()

    @property
    def count(self) -> int:
        """How many elements and items there were."""
        return self._granted - self._left

    def top(self, wanted: AbstractSet[int]) -> Raw:
        """Return what is wanted of what lies before the pixels (or all, where there are none)."""
        found: Raw = {}
        first = self._first()
        while (head := self.next(self._implicit)) is not None:
            tag, vr, length = head
            if tag in PIXELS:
                break
            if tag in wanted:
                if tag in found:
                    self.twice.add(tag)
                if vr == "SQ" or (tag in found and tag == first):
                    raise _Unclear
                found[tag] = vr, self.value(length)
                if tag == _CHARACTER_SET and not _is_usual(*found[tag]):
                    raise _Unclear
            else:
                self._pass(tag, vr, length, self._implicit, depth=1)
        self._window.check()
        return found

    def _first(self) -> int:
        """Look at the first element: pydicom guesses by it how the others are encoded."""
        window = self._window
        if not window.want(8):
            raise _Unclear
        group, element, vr, _ = self._explicit(window.data, window.at)
        first = int(group << 16 | element)
        guess = _looks_implicit(vr)
        if group in (0x0000, 0x0002) or first in PIXELS or self._implicit != guess:
            raise _Unclear
        return first

    def next(self, implicit: bool) -> tuple[int, str | None, int] | None:
        """Return tag, VR and length of the next element, and stand before its value.

        None is returned where the data end.
        """
        window = self._window
        if len(window.data) - window.at < 8 and not window.want(8):
            return None
        self._left -= 1
        if self._left < 0:
            self._spent()
        if implicit:
            group, element, length = self._plain(window.data, window.at)
            window.at += 8
            return group << 16 | element, None, length
        group, element, vr, length = self._explicit(window.data, window.at)
        tag = group << 16 | element
        known = _VRS.get(vr)
        if known is None:
            if tag != _ITEM_END or vr != b"\0\0":
                raise _Unclear
            window.at += 8
            return tag, None, 0
        if not known[1]:
            window.at += 8
            return tag, known[0], length
        if not window.want(12):
            raise _Unclear
        (length,) = self._length(window.data, window.at + 8)
        window.at += 12
        return tag, known[0], length

    def value(self, length: int) -> bytes:
        """Return a value, and stand behind it."""
        window = self._window
        if length == _UNDEFINED:
            raise _Unclear
        if length > _MAX_VALUE_BYTES and window.skip(length):
            raise HeaderTooCostly("A value in the header is longer than such a value may be.")
        if length > _MAX_VALUE_BYTES or not window.want(length):
            raise _Unclear
        value = window.data[window.at : window.at + length]
        window.at += length
        return value

    def _pass(self, tag: int, vr: str | None, length: int, implicit: bool, depth: int) -> None:
        """Go past a value that is not wanted."""
        if tag == _ITEM_END:
            raise _Unclear
        if length == _UNDEFINED:
            if not self._is_sequence(tag, vr, implicit):
                raise _Unclear
            self._sequence(None, implicit, depth)
        elif (vr == "SQ" or (vr is None and length > _SMALL_BYTES)) and self._is_dear(
            tag, vr, length
        ):
            self._sequence(self._window.position + length, implicit, depth)
        elif not self._window.skip(length):
            raise _Unclear

    def _is_sequence(self, tag: int, vr: str | None, implicit: bool) -> bool:
        """Tell whether a value of undefined length is one of items."""
        if not implicit:
            return vr in ("SQ", "UN")
        try:
            return dictionary_VR(tag) == "SQ"
        except KeyError:
            window = self._window
            return window.want(4) and window.data.startswith(self._item, window.at)

    def _is_dear(self, tag: int, vr: str | None, length: int) -> bool:
        """Tell whether a sequence that states its length has to be looked into."""
        window = self._window
        if length > _SMALL_BYTES:
            return self._is_sequence(tag, vr, implicit=vr is None)
        if not window.want(length):
            raise _Unclear
        items = window.data.count(self._item, window.at, window.at + length)
        return items > self._limits.depth

    def _sequence(self, end: int | None, implicit: bool, depth: int) -> None:
        """Go past the items of a sequence, up to a position or its delimiter."""
        if depth > self._limits.depth:
            raise HeaderTooCostly(
                f"The header nests sequences more than {self._limits.depth} deep."
            )
        window = self._window
        while end is None or window.position < end:
            if not window.want(8):
                raise _Unclear
            self._left -= 1
            if self._left < 0:
                self._spent()
            group, element, length = self._plain(window.data, window.at)
            window.at += 8
            if end is None and group << 16 | element == _SEQUENCE_END:
                return
            if group << 16 | element != _ITEM:
                raise _Unclear
            self._one_item(
                None if length == _UNDEFINED else window.position + length, implicit, depth
            )
        if window.position != end:
            raise _Unclear

    def _one_item(self, end: int | None, implicit: bool, depth: int) -> None:
        """Go past the elements of an item; within explicit VR each may be implicit."""
        window = self._window
        if not implicit and window.want(6):
            implicit = _looks_implicit(window.data[window.at + 4 : window.at + 6])
        while end is None or window.position < end:
            head = self.next(implicit)
            if head is None:
                raise _Unclear
            tag, vr, length = head
            if tag == _ITEM_END and end is None:
                return
            self._pass(tag, vr, length, implicit, depth + 1)
        if window.position != end:
            raise _Unclear

    def _spent(self) -> None:
        """Take another while's worth of elements, if there is one."""
        limits = self._limits
        if self._granted >= limits.elements:
            raise HeaderTooCostly(f"The header has more than {limits.elements} elements.")
        self._window.check()
        more = min(_A_WHILE, limits.elements - self._granted)
        self._granted += more
        self._left += more


def _is_usual(vr: str | None, terms: bytes) -> bool:
    """Tell whether a Specific Character Set is one that pydicom goes on with."""
    return vr in (None, "CS") and _TERMS.fullmatch(terms) is not None


def _looks_implicit(vr: bytes) -> bool:
    """Tell, as pydicom does, whether these can be no VR: two capitals."""
    return not (0x40 < vr[0] < 0x5B and 0x40 < vr[1] < 0x5B)
