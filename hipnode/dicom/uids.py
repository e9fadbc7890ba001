"""What a usable UID is: one rule, with three uses.

The door *accepts* what identifies (`usable`), *refuses* what does not (`required`), and a report
*carries* an accepted one as it is: a wrong but unambiguous UID, with a leading zero or a dot at its
end, is how every other system knows the study.

References
----------
PS3.5 9.1 (UID encoding rules): digits and dots, no leading zeros, 64 characters at most.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from hipnode.errors import HeaderUnusable

if TYPE_CHECKING:
    from hipnode.dicom.values import Reader

_USABLE: Final = re.compile(r"\.*[0-9][0-9.]*")
_MAX_CHARS: Final = 64
_RIGHT: Final = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")


def usable(text: str) -> bool:
    """Tell whether text identifies as a UID does: digits and dots, 64 characters at most."""
    return len(text) <= _MAX_CHARS and _USABLE.fullmatch(text) is not None


def is_right(text: str) -> bool:
    """Tell whether text is a UID by the letter of PS3.5 9.1."""
    return len(text) <= _MAX_CHARS and _RIGHT.fullmatch(text) is not None


def required(reader: Reader, keyword: str, *, may_lack: bool = False) -> str:
    """Return a UID that an object cannot be without, as it came.

    Parameters
    ----------
    reader
        Of the data set.
    keyword
        The attribute's.
    may_lack
        Whether it may be absent after all: then it is ``""``.

    Raises
    ------
    HeaderUnusable
        If it is missing, there twice, more than one, or no UID.
    """
    value = reader.one(keyword)
    if value.fault:
        raise HeaderUnusable(f"The {keyword} {value.fault}.")
    if not value.text and may_lack:
        return ""
    if not value.text:
        hint = "; wrong transfer syntax?" if keyword == "SOPClassUID" else "."
        raise HeaderUnusable(f"The object has no {keyword}{hint}")
    if not usable(value.text):
        raise HeaderUnusable(f"The object has an unusable {keyword}.")
    return value.text
