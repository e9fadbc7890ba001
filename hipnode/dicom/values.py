"""The values of attributes, total: whatever a data set holds, an answer and never an error.

Text is taken as the bytes that came, and decoded once, by `hipnode.dicom.charset`: the rules, the
audit log and the reports therefore see the same.

References
----------
PS3.5 6.1.3 (control characters), 6.2 (VR), 6.4 (value multiplicity).
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from hipnode.codes import LANGUAGE
from hipnode.dicom.charset import CharacterSet, character_set_of

PARSE_ERRORS: Final = (
    ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, LookupError,
    MemoryError, NotImplementedError, OSError, RuntimeError, TypeError, ValueError, struct.error,
    zlib.error, pydicom.errors.BytesLengthException, pydicom.errors.InvalidDicomError,
)  # fmt: skip
"""What pydicom raises at a damaged data set, or at an attribute whose bytes fit no value."""

MAX_CHARS: Final = {"LO": 64, "SH": 16, "PN": 64, "CS": 16, "AS": 4, "IS": 12, "DS": 16}
"""PS3.5 6.2: the most characters of a value (of a PN: of each component group), by VR."""
_MAX_GROUPS: Final = 3
_MAX_COMPONENTS: Final = 5
_MAX_TEXT: Final = 1024
_MAX_VALUES: Final = 16
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NUMBER: Final = {
    "IS": re.compile(r"[+-]?\d+"),
    "DS": re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"),
}
_CODE_STRING: Final = re.compile(r"[A-Za-z0-9_ ]*")
"""PS3.5 6.2 has capitals only; they mean the same."""

TWICE: Final = "is there twice"
SEVERAL: Final = "has more than one value"
CONTROL: Final = "has a control character"


@dataclass(frozen=True, slots=True)
class Value:
    """One value as text, or why there is none that can be carried unchanged."""

    text: str = ""
    fault: str = ""


class Reader:
    """Reads the attributes of one data set, or of an item in one.

    Parameters
    ----------
    dataset
        The data set. It is not changed.
    assumed
        The defined term (PS3.3 C.12.1.1.2) to read undeclared text with; ``""`` assumes nothing.
    within
        Of the data set that an item is in: its character set holds unless the item has its own.
    """

    def __init__(self, dataset: Any, assumed: str = "", within: CharacterSet | None = None) -> None:
        self._dataset = dataset
        self._twice: frozenset[int] = twice_in(dataset)
        own = raw_of(dataset, "SpecificCharacterSet")
        self.charset = within if within and own is None else character_set_of(own, assumed)

    def one(self, keyword: str) -> Value:
        """Return the value of a single-valued attribute, unchanged but for its padding.

        Parameters
        ----------
        keyword
            The attribute's. More than one value, a control character, characters that cannot be
            decoded, or what its VR does not allow is a fault: nothing is mended here.
        """
        if tag_for_keyword(keyword) in self._twice:
            return Value("", TWICE)
        values = self._values(keyword)
        if values is None:
            return Value("", self.charset.why_not)
        if len(values) > 1:
            return Value("", SEVERAL)
        text = values[0] if values else ""
        return Value("", fault) if (fault := fault_of(text, vr_of(keyword))) else Value(text)

    def text(self, keyword: str) -> str:
        """Return what an attribute says, for rules and gates: ``""`` where that cannot be told.

        Of several values it is the first; control characters are left out.
        """
        return next(iter(self.many(keyword)), "")

    def many(self, keyword: str) -> tuple[str, ...]:
        """Return the values of an attribute as text; none where all are empty."""
        values = self._values(keyword) or ()
        texts = tuple(
            (value if value.isprintable() else _CONTROL.sub("", value))[:_MAX_TEXT].strip()
            for value in values[:_MAX_VALUES]
        )
        return texts if any(texts) else ()

    def number(self, keyword: str, low: float, high: float) -> float | None:
        """Return an attribute's first value as a number, where it is one between the bounds.

        Parameters
        ----------
        keyword
            The attribute's.
        low, high
            The bounds; both may be reached.
        """
        try:
            number = float(self.text(keyword))
        except ValueError:
            return None
        return number if math.isfinite(number) and low <= number <= high else None

    def _values(self, keyword: str) -> tuple[str, ...] | None:
        """Return the values without their padding; None where they cannot be decoded."""
        raw = raw_of(self._dataset, keyword)
        if raw is None:
            return ()
        if isinstance(raw, bytes):
            text = self.charset.decode(raw.rstrip(b"\0 "))
            if text is None:
                return None
            parts = text.split("\\")
            if text.isascii():
                return tuple(part.strip("\0 ") for part in parts)
        else:
            parts = raw if isinstance(raw, list) else [raw]
            if any("\ufffd" in part for part in parts):
                return None
        return tuple(_storable(part).strip("\0 ") for part in parts)


def fault_of(text: str, vr: str) -> str:
    """Return what keeps a single value from being carried in an element of this VR (PS3.5 6.2).

    Parameters
    ----------
    text
        The value, without padding.
    vr
        Of the element.
    """
    if not text.isprintable() and _CONTROL.search(text):
        return CONTROL
    if vr in _NUMBER and text and not _NUMBER[vr].fullmatch(text):
        return "is not a number"
    if vr == "PN":
        groups = text.split("=")
        if len(groups) > _MAX_GROUPS:
            return f"has {len(groups)} component groups; DICOM allows {_MAX_GROUPS}"
        components = max(group.count("^") for group in groups) + 1
        if components > _MAX_COMPONENTS:
            return f"has {components} components; DICOM allows {_MAX_COMPONENTS}"
        length = max(map(len, groups))
    else:
        length = len(text)
    limit = MAX_CHARS.get(vr, 64)
    if length > limit:
        return f"has {length} characters; DICOM allows {limit}"
    if vr == "CS" and not _CODE_STRING.fullmatch(text):
        return "has a character that DICOM does not allow there"
    return ""


@cache
def vr_of(keyword: str) -> str:
    """Return the VR of a keyword in the data dictionary (PS3.6)."""
    return str(dictionary_VR(keyword))


def raw_of(dataset: Any, keyword: str) -> Any:
    """Return an attribute's bytes as they came, or the text or list of a value set in memory.

    Returns
    -------
    bytes, str, list or None
        None where the attribute is absent, empty, or holds items.
    """
    tag = tag_for_keyword(keyword)
    if dataset is None or tag is None or tag not in dataset:
        return None
    element = _element(dataset, tag)
    if element is None:
        return None
    if isinstance(element, RawDataElement):
        is_text = element.VR != "SQ" and isinstance(element.value, bytes)
        return element.value if is_text else None
    value = element.value
    if value is None or isinstance(value, (pydicom.Sequence, Dataset)):
        return None
    if isinstance(value, (list, MultiValue)):
        return [str(part) for part in value]
    return value if isinstance(value, bytes) else str(value)


def value_of(dataset: Any, keyword: str) -> Any:
    """Return an attribute's value; None where it is absent, damaged, or items.

    Parameters
    ----------
    dataset
        A data set, or an item of one.
    keyword
        The attribute's.
    """
    value = _read(dataset, keyword)
    return None if isinstance(value, pydicom.Sequence) else value


def items_of(dataset: Any, keyword: str | BaseTag) -> list[Dataset]:
    """Return the items of a sequence; none where it is absent, damaged, or no sequence.

    Parameters
    ----------
    dataset
        As for `value_of`.
    keyword
        The attribute's, or its tag.
    """
    value = _read(dataset, keyword)
    value = value.value if isinstance(value, DataElement) else value
    return list(value) if isinstance(value, pydicom.Sequence) else []


def all_items_of(dataset: Any) -> list[Dataset]:
    """Return the items of all sequences of a data set or an item, decoding nothing else."""
    return [
        item
        for tag in list(dataset.keys())
        if (element := _element(dataset, tag)) is not None and element.VR == "SQ"
        for item in items_of(dataset, tag)
    ]


def language_of(document: Any) -> str:
    """Return in which language an SR document is, as "en"; "" where it does not say (TID 1204)."""
    for item in items_of(document, "ContentSequence"):
        for name in items_of(item, "ConceptNameCodeSequence"):
            if Reader(name).text("CodeValue") == LANGUAGE.value:
                for code in items_of(item, "ConceptCodeSequence"):
                    return Reader(code).text("CodeValue").partition("-")[0]
    return ""


def mark_twice(dataset: object, tags: set[int]) -> None:
    """Remember which tags a data set had more than once: the library keeps the last alone."""
    dataset.__dict__["hipnode_twice"] = frozenset(tags)


def twice_in(dataset: Any) -> frozenset[int]:
    """Return the tags that a data set had more than once when it was read."""
    found = getattr(dataset, "__dict__", {}).get("hipnode_twice", frozenset())
    return frozenset(found)


def _element(dataset: Any, tag: Any) -> DataElement | RawDataElement | None:
    """Return an element as it came; None for one that the library decodes at once, and cannot."""
    try:
        element: DataElement | RawDataElement = dataset.get_item(tag)
    except PARSE_ERRORS:
        return None
    return element


def _read(dataset: Any, keyword: str | BaseTag) -> Any:
    try:
        return dataset.get(keyword)
    except PARSE_ERRORS:
        return None


def _storable(text: str) -> str:
    """Replace lone surrogates (a wrong character set): they could be neither stored nor sent."""
    return text.encode("utf-8", "replace").decode("utf-8")
