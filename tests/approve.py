"""The report of every case in every language, as approved: ``python -m tests.approve`` writes it.

A change of a sentence is then seen where changes are reviewed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from hipnode.domain import Language
from hipnode.reporting import plain_text
from hipnode.reporting.languages import LANGUAGES
from tests import cases

FOLDER: Final = Path(__file__).resolve().parent / "approved"


def report(name: str, language: Language) -> str:
    """Return the text of one case in one language."""
    return plain_text(replace(cases.CASES[name].request(name), language=language))


def page(language: Language) -> str:
    """Return every case in one language, as the approved file has them."""
    return "\n".join(f"=== {name} ===\n{report(name, language)}" for name in cases.CASES)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for code in LANGUAGES:
        (FOLDER / f"report-{code}.txt").write_text(page(code), encoding="utf-8")
