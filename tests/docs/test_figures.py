"""Figures on the pages are those of the files that the measurements wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs import figures


@pytest.mark.parametrize("page", figures.pages(), ids=lambda page: page.name)
def test_a_page_says_what_was_measured(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert figures.filled(text) == text, "run: python -m tests.docs.figures"


def test_each_file_is_quoted_once() -> None:
    quoted = [name for page in figures.pages() for name in figures.names(page.read_text("utf-8"))]
    there = [path.stem for path in figures.FOLDER.glob("*.json")]
    assert sorted(name for name in quoted if name != figures.TARGETS) == sorted(there)
