"""What the reports say, in each language; codes stay codes."""

from __future__ import annotations

from typing import Final

from hipnode.domain import Language
from hipnode.reporting.languages.english import ENGLISH
from hipnode.reporting.languages.french import FRENCH
from hipnode.reporting.languages.german import GERMAN
from hipnode.reporting.languages.phrases import Phrases

LANGUAGES: Final[dict[Language, Phrases]] = {"en": ENGLISH, "de": GERMAN, "fr": FRENCH}

__all__ = ["ENGLISH", "LANGUAGES", "Phrases"]
