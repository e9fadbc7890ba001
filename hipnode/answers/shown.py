"""Text from outside, made harmless: nothing that a sender wrote reaches a terminal or a file as is.

Control characters (escape sequences among them), line and paragraph separators, and characters that
turn the direction of writing are shown as what they are; no spreadsheet takes any for a formula.
"""

from __future__ import annotations

import unicodedata
from typing import Any, Final

_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_FORMULA: Final = "=+-@\t\r\n|%"


def plain(value: Any) -> str:
    """Return text as one line that shows every character and does nothing."""
    text = "" if value is None else str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _UNSEEN:
        return character
    return character.encode("unicode_escape").decode("ascii")


def spreadsheet(value: Any) -> str:
    """Return text that a spreadsheet takes for text: what a sender filled is no formula."""
    text = plain(value)
    return f"'{text}" if text.lstrip(" '\"")[:1] in _FORMULA and text.strip() else text
