"""Which characters a data set's bytes stand for, and which character set a report leaves in.

References
----------
PS3.3 C.12.1.1.2 (Specific Character Set); PS3.5 6.1 (support of character repertoires).
"""

from __future__ import annotations

import codecs
import re
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from pydicom.charset import (
    STAND_ALONE_ENCODINGS,
    convert_encodings,
    decode_bytes,
    encode_string,
    python_encoding,
)
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR, PN_DELIMS, TEXT_VR_DELIMS

from hipnode.errors import CharacterSetUndeclared

KEPT_CHARACTER_SETS = frozenset(
    f"ISO_IR {n}" for n in (100, 101, 109, 110, 144, 127, 126, 138, 148, 166)
) | {"GB18030", "ISO 2022 IR 6", "ISO 2022 IR 87", "ISO 2022 IR 149"}
"""Character sets that every validator at hand reads; what comes in another leaves in UTF-8."""

_ESC: Final = b"\x1b"
_ASCII: Final = "ascii"
_CODECS: Final = {
    **{term: name for term, name in python_encoding.items() if term},
    "ISO_IR 6": _ASCII,
    "ISO 2022 IR 6": _ASCII,
    "": _ASCII,
    "ISO_IR 203": "iso8859_15",  # Latin-9, which pydicom does not know
    "ISO 2022 IR 203": "iso8859_15",
}
"""By defined term: Python's name of the encoding."""
READ_CHARACTER_SETS: Final = frozenset(_CODECS) - {"", "ISO 2022 58"}
_SEVERAL_BYTES: Final = frozenset({"gb18030", "gbk", "gb2312", "euc_kr", "shift_jis", "big5"})
_ISO: Final = re.compile(r"ISO[ _-]*(?:2022[ _-]*)?IR[ _-]*(\d{1,3})")
_OTHER_NAMES: Final = re.compile(
    r"(?:UTF|ISO|LATIN|CP|WINDOWS|GB|BIG|EUC|KS|KOI|SHIFT|SJIS|US|ASCII)[A-Z0-9 _-]*"
)
_C1: Final = re.compile(r"[\x80-\x9f]")
_DELIMITERS: Final = TEXT_VR_DELIMS | PN_DELIMS
_IN_A_CHARACTER: Final = ((b"\\", "\\"), (b"^", "^"), (b"=", "="))


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """How the text of a data set is read.

    Attributes
    ----------
    encodings
        Python's names, the initial one first. Empty: nothing beyond ASCII is declared.
    declared
        The defined terms, where all are valid.
    assumed
        Python's name of what the site says of undeclared text; ``""`` where it says nothing.
    note
        What is wrong with the declaration, if its meaning is clear all the same.
    """

    encodings: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()
    assumed: str = ""
    note: str = ""

    @property
    def why_not(self) -> str:
        """Why bytes that `decode` has no text for have none."""
        if self.encodings:
            return "cannot be decoded in its character set"
        return "has characters of an undeclared character set"

    def decode(self, value: bytes) -> str | None:
        """Return the text of ``value``, or None where it cannot be told."""
        if value.isascii() and _ESC not in value:
            return value.decode(_ASCII)
        if not self.encodings:
            return self._guess(value)
        text = _decoded(value, self.encodings)
        if text is not None and _C1.search(text):
            # Control characters that no text has: where the bytes are UTF-8, they are that.
            return _decoded(value, ("utf-8",)) or text
        return text

    def _guess(self, value: bytes) -> str | None:
        """Return undeclared text: UTF-8 if it is plainly that, else as the site says.

        A set of one byte a character takes any bytes, so that UTF-8 goes first there. Bytes that
        are right in UTF-8 and in a set of several bytes may be either.
        """
        assumed = None
        if self.assumed:
            escapes = (_ASCII,) if _ESC in value else ()
            assumed = _decoded(value, (*escapes, self.assumed))
        as_unicode = None if _ESC in value else _decoded(value, ("utf-8",))
        if as_unicode is None or not _is_plausible(as_unicode):
            return assumed
        if assumed not in (None, as_unicode) and self.assumed in _SEVERAL_BYTES:
            return None
        return as_unicode


def character_set_of(declaration: Any, assumed: str = "") -> CharacterSet:
    """Return how the text of a data set is read.

    Parameters
    ----------
    declaration
        The value of its Specific Character Set: bytes, text, a list, or None.
    assumed
        The defined term to read undeclared text with; ``""`` assumes nothing.
    """
    if isinstance(declaration, bytes):
        declaration = declaration.decode("latin-1")
    if isinstance(declaration, str):
        declaration = declaration.split("\\")
    return _character_set(tuple(t.strip("\0 ") for t in declaration or ()), assumed)


@lru_cache(maxsize=256)
def _character_set(terms: tuple[str, ...], assumed: str) -> CharacterSet:
    known = [(term, _CODECS.get(term) or _meant(term)) for term in terms]
    encodings = [name for _, name in known if name]
    if encodings and _stands_alone(encodings[0]):
        encodings = encodings[:1]
    else:
        encodings = [name for name in encodings if not _stands_alone(name)]
    site = (_CODECS.get(assumed) or _meant(assumed) or "") if assumed else ""
    site = "" if site == _ASCII else site.lower()
    if not set(encodings) - {_ASCII}:
        unknown = any(term and not name for term, name in known)
        return CharacterSet(assumed=site, note="is not a defined term" if unknown else "")
    if all(term in _CODECS for term in terms):
        return CharacterSet(tuple(encodings), terms, site)
    note = "is not a defined term, but its meaning is clear"
    return CharacterSet(tuple(encodings), (), site, note)


def _stands_alone(encoding: str) -> bool:
    return encoding.lower() in {_CODECS[term].lower() for term in STAND_ALONE_ENCODINGS}


def _meant(term: str) -> str | None:
    """Return the encoding that a term stands for which PS3.3 does not have, or None."""
    upper = term.upper()
    if match := _ISO.fullmatch(upper):
        number = match[1]
        return _CODECS.get(f"ISO_IR {number}") or _CODECS.get(f"ISO 2022 IR {number}")
    if not _OTHER_NAMES.fullmatch(upper):
        return None
    try:
        name = codecs.lookup(upper.replace(" ", "_")).name
        plain = "Aa1^=".encode(name)
    except (LookupError, UnicodeError):
        return None
    return name if plain == b"Aa1^=" and name != "utf-7" else None


def _decoded(value: bytes, encodings: Sequence[str]) -> str | None:
    """Return the text of bytes that are right in these encodings, else None."""
    if _ESC not in value:
        try:
            return value.decode(encodings[0])
        except (UnicodeError, LookupError):
            return None
    text = decode_bytes(value, encodings, set(_DELIMITERS))
    return None if "\ufffd" in text or "\x1b" in text else text


def _is_plausible(text: str) -> bool:
    """Tell whether text was written by people: bytes of another set make a mixture of scripts."""
    scripts = set()
    for character in text:
        if "\x80" <= character < "\u0800":
            name = unicodedata.name(character, "")
            if not name:
                return False
            if character.isalpha():
                scripts.add(name.split(" ")[0])
    return len(scripts) <= 1


# --- on the way out ---------------------------------------------------------------------------


def seal(out: Dataset, of_source: Sequence[str], beside: Sequence[str] = ()) -> Dataset:
    """Choose the character set (PS3.3 C.12.1.1.2) of a finished object.

    Plain ASCII declares none. The source's own is kept where it can say everything, so that a PACS
    which reads the source reads the report; else it is UTF-8. So it is too where a character of the
    source's own set holds the byte of a backslash, a caret or an equals sign, which half the
    readers take for one.

    Parameters
    ----------
    out
        The object, with its text as Unicode.
    of_source
        The defined terms of the source; empty where it had none that is valid.
    beside
        Text that will be put into it, in the character set that is chosen here.
    """
    texts = [*_texts(out), *beside]
    declared = [term or "ISO 2022 IR 6" for term in of_source]
    if all(text.isascii() for text in texts):
        del out.SpecificCharacterSet
    elif _is_kept(declared) and _says_all(declared, texts):
        out.SpecificCharacterSet = declared
    else:
        out.SpecificCharacterSet = "ISO_IR 192"
    return out


def check_declared(out: Dataset) -> None:
    """Make sure that no byte outside ASCII leaves in an object that declares no character set.

    Raises
    ------
    CharacterSetUndeclared
        If one would.
    """
    if not out.get("SpecificCharacterSet") and not all(t.isascii() for t in _texts(out, True)):
        raise CharacterSetUndeclared


_AS_ASCII: Final = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"})


def _texts(dataset: Dataset, every: bool = False) -> Iterator[str | bytes]:
    """Yield the texts of a data set, those of other VRs too where asked for.

    Sequences that have been encoded already (by us, and checked then) are not decoded again.
    """
    for tag in dataset.keys():  # noqa: SIM118 - a data set iterates over elements, decoding them
        element = dataset.get_item(tag)
        if element.VR == "SQ":
            if not isinstance(element, RawDataElement):
                for item in element.value:
                    yield from _texts(item, every)
        elif element.VR in CUSTOMIZABLE_CHARSET_VR or (every and element.VR in _AS_ASCII):
            if isinstance(element, RawDataElement):
                yield element.value or b""
            elif element.value not in (None, ""):
                values = element.value if element.VM > 1 else [element.value]
                yield from (str(value) for value in values)


def _is_kept(declared: list[str]) -> bool:
    """Tell whether a report may leave in the source's set: one that stands alone, or extensions."""
    extended = [term for term in declared if term.startswith("ISO 2022")]
    right = not extended or (len(declared) > 1 and declared[0] == "ISO 2022 IR 6")
    return bool(declared) and right and KEPT_CHARACTER_SETS.issuperset(declared)


def _says_all(declared: list[str], texts: Sequence[str | bytes]) -> bool:
    encodings = convert_encodings(declared)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # pydicom warns where it would write a question mark
        try:
            return all(_says(str(text), encodings) for text in texts)
        except (UserWarning, UnicodeError, LookupError):
            return False


def _says(text: str, encodings: list[str]) -> bool:
    encoded = encode_string(text, encodings)
    apart = all(encoded.count(byte) == text.count(mark) for byte, mark in _IN_A_CHARACTER)
    return apart and decode_bytes(encoded, encodings, TEXT_VR_DELIMS) == text
