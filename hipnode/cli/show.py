"""Text from outside for a terminal: square brackets are never markup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hipnode.answers.shown import plain, spreadsheet

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["cell", "plain", "spreadsheet"]


def cell(value: Any) -> Text:
    """Return text for rich to print as it is."""
    from rich.text import Text

    return Text(plain(value))
