"""The character set of an object: the source's own where that can say everything, else UTF-8.

References
----------
PS3.3 C.12.1.1.2 (Specific Character Set); PS3.5 6.1 (support of character repertoires).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

from pydicom.charset import convert_encodings, decode_bytes, encode_string
from pydicom.dataset import Dataset
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR, TEXT_VR_DELIMS

KEPT_CHARACTER_SETS = frozenset(
    f"ISO_IR {n}" for n in (100, 101, 109, 110, 144, 127, 126, 138, 148, 166, 203)
) | {"GB18030", "ISO 2022 IR 6", "ISO 2022 IR 87", "ISO 2022 IR 149"}
"""Character sets that every validator at hand reads; what comes in another leaves in UTF-8."""


def seal(out: Dataset, of_source: Sequence[str]) -> Dataset:
    """Choose the character set (PS3.3 C.12.1.1.2) of a finished object.

    Plain ASCII declares none. The source's own is kept where it can say everything, so that a PACS
    which reads the source reads the report; else it is UTF-8.

    Parameters
    ----------
    out
        The object, with its text as Unicode.
    of_source
        The defined terms of the source; empty where it had none that is valid.
    """
    texts = list(_texts(out))
    declared = [term or "ISO 2022 IR 6" for term in of_source]
    if all(text.isascii() for text in texts):
        del out.SpecificCharacterSet
    elif KEPT_CHARACTER_SETS.issuperset(declared) and _says_all(declared, texts):
        out.SpecificCharacterSet = declared
    return out


def _texts(dataset: Dataset) -> Iterator[str]:
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from _texts(item)
        elif element.VR in CUSTOMIZABLE_CHARSET_VR and element.value:
            yield from (str(v) for v in (element.value if element.VM > 1 else [element.value]))


def _says_all(declared: list[str], texts: list[str]) -> bool:
    encodings = convert_encodings(declared)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # pydicom warns where it would write a question mark
        try:
            return all(
                decode_bytes(encode_string(t, encodings), encodings, TEXT_VR_DELIMS) == t
                for t in texts
            )
        except (UserWarning, UnicodeError, LookupError):
            return False
