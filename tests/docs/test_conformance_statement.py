"""The DICOM Conformance Statement says what the code does."""

from __future__ import annotations

import pytest

from tests.docs import conformance

TEXT = conformance.PAGE.read_text(encoding="utf-8")


def test_every_table_is_in_the_page() -> None:
    assert sorted(conformance.names(TEXT)) == sorted(conformance.TABLES)


@pytest.mark.parametrize("name", conformance.TABLES)
def test_table_has_not_drifted(name: str) -> None:
    made = conformance.TABLES[name]()
    assert made in TEXT, "run: python -m tests.docs.conformance"


def test_the_page_follows_ps3_2() -> None:
    """PS3.2 Annex A (template): its sections, in its order."""
    headings = [line for line in TEXT.splitlines() if line.startswith("## ")]
    wanted = [
        "Conformance statement overview", "Introduction", "Networking", "Media interchange",
        "Support of character sets", "Security", "Annexes",
    ]  # fmt: skip
    assert [h.split(". ", 1)[1] for h in headings] == wanted
