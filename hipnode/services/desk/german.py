"""The desk in German, by the English text."""

from __future__ import annotations

from typing import Final

GERMAN: Final[dict[str, str]] = {}
