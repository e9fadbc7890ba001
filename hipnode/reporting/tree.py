"""Content trees: of highdicom's items, or of prepared pieces that give the same bytes sooner.

References
----------
PS3.3 C.17.3 (SR Document Content).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import highdicom as hd
from pydicom.charset import convert_encodings, encode_string
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from hipnode.codes import Concept
from hipnode.reporting.forms import Form, Marks, padded, raw, ready

_TEXT: Final = "{text}"
_CONTENT: Final = Tag("ContentSequence")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A content item that says one thing: a text, or a code."""

    name: Concept
    value: str | Concept
    relationship: str = "CONTAINS"

    def item(self) -> hd.sr.ContentItem:
        """Return it as highdicom has it."""
        name, kind = concept(self.name), self.relationship
        if isinstance(self.value, Concept):
            return hd.sr.CodeContentItem(name, concept(self.value), kind)
        return hd.sr.TextContentItem(name, self.value, kind)

    def encoded(self, encodings: list[str]) -> bytes:
        """Return its bytes, the text in Python's ``encodings``."""
        if isinstance(self.value, Concept):
            return _leaf(self.name, self.value, self.relationship).filled({})
        text = padded(encode_string(self.value, encodings))
        return _leaf(self.name, _TEXT, self.relationship).filled({"text": text})


@lru_cache(maxsize=512)
def _leaf(name: Concept, value: str | Concept, relationship: str) -> Form:
    return Form.of_items([Leaf(name, value, relationship).item()], {_TEXT: "text"})


@dataclass(frozen=True, slots=True)
class Content:
    """The root of a prepared tree.

    Attributes
    ----------
    heads
        Its elements but for the Content Sequence.
    texts
        All text in the tree that may be beyond ASCII: it decides the character set.
    encoded
        Makes the value of the Content Sequence, with text in these Python encodings.
    """

    heads: tuple[RawDataElement | DataElement, ...]
    texts: tuple[str, ...]
    encoded: Callable[[list[str]], bytes]

    def put(self, out: Dataset) -> None:
        """Put it into a document whose character set has been chosen."""
        encodings = convert_encodings(out.get("SpecificCharacterSet") or "ISO_IR 6")
        out[_CONTENT] = raw(_CONTENT, "SQ", self.encoded(encodings))


def plain(leaves: Sequence[Leaf]) -> hd.sr.ContentSequence:
    """Return leaves as items of highdicom."""
    return hd.sr.ContentSequence([leaf.item() for leaf in leaves])


def heads_of(root: Dataset) -> tuple[RawDataElement | DataElement, ...]:
    """Return the elements of a root content item without its Content Sequence, encoded."""
    return tuple(ready(element) for element in root if element.tag != _CONTENT)


def under(root: Dataset, marks: Marks) -> Form:
    """Return the Content Sequence of a root content item as a form.

    Parameters
    ----------
    root
        The root.
    marks
        As for `Form.of_items`.
    """
    return Form.of_items(root.ContentSequence, marks)


def concept(of: Concept) -> hd.sr.CodedConcept:
    """Return a concept as highdicom has it."""
    return hd.sr.CodedConcept(of.value, of.scheme, of.meaning)
