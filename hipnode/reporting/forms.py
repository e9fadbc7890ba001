"""Pieces of an object that are made and encoded once, with holes for what differs.

A content tree of highdicom takes some thirty milliseconds of processor time to make and encode,
and nearly all of it is the same in every report. So each kind of piece is made by highdicom once,
with marks where values belong; after that only the holes are filled, as bytes.

References
----------
PS3.5 7.1.2 (data elements with explicit VR), 7.5 (items of sequences), A.2 (little endian).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from struct import pack
from typing import Any, Final

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.tag import BaseTag
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR, EXPLICIT_VR_LENGTH_32

_ITEM: Final = b"\xfe\xff\x00\xe0"

Marks = Mapping[Any, str]
"""By the value that stands for a hole (text, a number, a tuple of numbers): the hole's name."""


class NotPrepared(ValueError):
    """A piece has text beyond ASCII, whose bytes differ from one character set to the next."""


@dataclass(frozen=True, slots=True)
class _Open:
    """An element or item whose length is known only when it is filled."""

    head: bytes  # all before the length; empty where the value stands for itself
    wide: bool  # whether the length takes four bytes
    hole: str = ""
    inside: tuple[bytes | _Open, ...] = ()

    def filled(self, values: Mapping[str, bytes]) -> bytes:
        """Return it with its holes filled."""
        value = values[self.hole] if self.hole else _filled(self.inside, values)
        if not self.head:
            return value
        return self.head + pack("<L" if self.wide else "<H", len(value)) + value


@dataclass(frozen=True, slots=True)
class Form:
    """A piece with holes, in Explicit VR Little Endian."""

    parts: tuple[bytes | _Open, ...]

    @classmethod
    def of_items(cls, items: Iterable[Dataset], marks: Marks) -> Form:
        """Return the value of a sequence as a form.

        Parameters
        ----------
        items
            Of the sequence. An item that has a mark as its text gives its place to whatever items
            that hole is filled with.
        marks
            The values that stand for holes.

        Raises
        ------
        NotPrepared
            If other text than that of holes is not ASCII.
        """
        return cls(tuple(_joined(_item(item, marks) for item in items)))

    def filled(self, values: Mapping[str, bytes]) -> bytes:
        """Return the bytes of the piece, its holes filled with values of even length.

        Parameters
        ----------
        values
            By the name of the hole.
        """
        return _filled(self.parts, values)


def ready(element: DataElement) -> RawDataElement | DataElement:
    """Return an element encoded once for all the objects that have it.

    Parameters
    ----------
    element
        Its bytes must be the same in every character set: one with text beyond ASCII is returned
        as it is.
    """
    try:
        coded = _element_bytes(element)
    except NotPrepared:
        return element
    return raw(element.tag, element.VR, coded[12 if element.VR in EXPLICIT_VR_LENGTH_32 else 8 :])


def raw(tag: BaseTag, vr: str, value: bytes) -> RawDataElement:
    """Return an element that is encoded already, in Explicit VR Little Endian."""
    return RawDataElement(tag, vr, len(value), value, 0, False, True)


def settled(out: Dataset) -> Dataset:
    """Return an object of which no element is to be encoded anew: it is as it will be written.

    Else pydicom decodes what is encoded already, and looks in each item for VRs that depend on
    other attributes, of which there are none in what hipnode makes.
    """
    out.set_original_encoding(False, True, out._character_set)  # noqa: SLF001
    return out


def _element_bytes(element: DataElement) -> bytes:
    """Return an element's encoding.

    Raises
    ------
    NotPrepared
        If there is text beyond ASCII in it.
    """
    if element.VR in CUSTOMIZABLE_CHARSET_VR and not str(element.value).isascii():
        raise NotPrepared
    if element.VR == "SQ" and not all(_is_ascii(item) for item in element.value):
        raise NotPrepared
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, False
    write_data_element(out, element)
    return bytes(out.getvalue())


def padded(value: str | bytes, pad: bytes = b" ") -> bytes:
    """Return a value in ASCII, or encoded already, in an even number of bytes (PS3.5 6.2)."""
    encoded = value.encode("ascii") if isinstance(value, str) else value
    return encoded + pad if len(encoded) % 2 else encoded


def _is_ascii(item: Dataset) -> bool:
    return all(
        all(_is_ascii(child) for child in element.value)
        if element.VR == "SQ"
        else element.VR not in CUSTOMIZABLE_CHARSET_VR or str(element.value).isascii()
        for element in item
    )


def _filled(parts: Sequence[bytes | _Open], values: Mapping[str, bytes]) -> bytes:
    return b"".join(p if isinstance(p, bytes) else p.filled(values) for p in parts)


def _item(item: Dataset, marks: Marks) -> bytes | _Open:
    if hole := marks.get(item.get("TextValue")) if "ConceptNameCodeSequence" not in item else None:
        return _Open(b"", True, hole)
    return _closed(_ITEM, True, _joined(_element(element, marks) for element in item))


def _element(element: DataElement, marks: Marks) -> bytes | _Open:
    wide = element.VR in EXPLICIT_VR_LENGTH_32
    head = pack("<HH", element.tag.group, element.tag.element) + element.VR.encode()
    head += b"\0\0" if wide else b""
    if element.VR == "SQ":
        return _closed(head, wide, _joined(_item(item, marks) for item in element.value))
    value = tuple(element.value) if element.VM > 1 else element.value
    if hole := marks.get(str(value) if element.VR in {"DS", "UI"} else value):
        return _Open(head, wide, hole)
    return _element_bytes(element)


def _closed(head: bytes, wide: bool, inside: Iterator[bytes | _Open]) -> bytes | _Open:
    """Return what has no hole inside as bytes."""
    made = _Open(head, wide, inside=tuple(inside))
    return made if any(isinstance(p, _Open) for p in made.inside) else made.filled({})


def _joined(parts: Iterable[bytes | _Open]) -> Iterator[bytes | _Open]:
    """Yield parts with neighbouring bytes in one."""
    whole = b""
    for part in parts:
        if isinstance(part, bytes):
            whole += part
            continue
        if whole:
            yield whole
        yield part
        whole = b""
    if whole:
        yield whole
