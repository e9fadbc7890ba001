"""Every hazard of ``docs/hazards.md`` links to code and to tests, and both are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.peers import ROOT

PAGE = ROOT / "docs" / "hazards.md"
TEXT = PAGE.read_text(encoding="utf-8")
_ROW = re.compile(r"^\| (\d+) \| (.+) \|$", re.MULTILINE)
_LINK = re.compile(r"\[`([\w.]+)`\]\(\.\./((?:hipnode|tests)/[\w/]+\.py)\)")
LINKS = sorted(set(_LINK.findall(TEXT)))
ASKED = ("Missed", "Wrong side", "Wrong patient", "False reassurance", "Too late")


@cache
def _defined(path: Path) -> frozenset[str]:
    """Return the names that a module defines: at its top, and within its classes."""
    found: set[str] = {path.name}

    def walk(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                walk(node.body, f"{node.name}.")
            targets = node.targets if isinstance(node, ast.Assign) else []
            targets += [node.target] if isinstance(node, ast.AnnAssign) else []
            found.update(prefix + t.id for t in targets if isinstance(t, ast.Name))

    walk(ast.parse(path.read_text(encoding="utf-8")).body, "")
    return frozenset(found)


@pytest.mark.parametrize(("name", "path"), LINKS, ids=lambda part: part)
def test_what_a_hazard_links_to_is_there(name: str, path: str) -> None:
    assert name in _defined(ROOT / path)
    if path.startswith("tests/"):
        assert name.lower().startswith("test"), "not a test"


@pytest.mark.parametrize(("number", "row"), _ROW.findall(TEXT), ids=lambda part: part[:12])
def test_each_hazard_has_code_a_test_and_what_is_left(number: str, row: str) -> None:
    cells = [cell.strip() for cell in row.split(" | ")]
    assert len(cells) == 5, f"row {number} has {len(cells)} cells"
    _, harm, prevents, shown, left = cells
    assert harm in {"grave", "serious", "minor"}
    assert any(path.startswith("hipnode/") for _, path in _LINK.findall(prevents))
    assert any(path.startswith("tests/") for _, path in _LINK.findall(shown))
    assert left


def test_the_rows_are_numbered_and_the_hazards_that_were_asked_for_are_there() -> None:
    numbers = [int(number) for number, _ in _ROW.findall(TEXT)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 40
    for heading in (*ASKED, "An alarm nobody believes"):
        assert re.search(rf"^## {heading}$", TEXT, re.MULTILINE), heading
