"""``docs/operations.md``: each fault that `hipnode status --check` can print is in its table."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.peers import ROOT

_PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
_TABLE = _PAGE.split("## What `status --check` says")[1].split("\n## ")[0]
_NOTED = (  # what others note under a name of its own (`Store.faults`)
    "audit feed ", "audit log: ", "clock: ", "database: ", "files: ", "quality: ", "self-test: ",
    "stored files: ",
)  # fmt: skip


def _texts(within: ast.AST) -> set[str]:
    """Return the fixed parts of the texts below a node that are long enough to be known again."""
    found = (n.value for n in ast.walk(within) if isinstance(n, ast.Constant))
    parts = (text.partition(":")[0].strip(" ,;(") for text in found if isinstance(text, str))
    return {part for part in parts if len(part) > 7}


def _lines() -> Iterator[set[str]]:
    """Yield of each fault the fixed parts of its line, or of all lines that a function makes."""
    tree = ast.parse((ROOT / "hipnode/answers/status.py").read_text(encoding="utf-8"))
    for function in tree.body:
        if isinstance(function, ast.FunctionDef) and function.name.startswith("_of_"):
            for node in ast.walk(function):
                if isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple):
                    yield _texts(node.value.elts[1]) or _texts(function)


def test_it_knows_the_lines() -> None:
    assert len(list(_lines())) > 15


@pytest.mark.parametrize("parts", _lines(), ids=lambda parts: max(parts, key=len))
def test_a_line_is_in_the_table(parts: set[str]) -> None:
    assert any(part in _TABLE for part in parts)


@pytest.mark.parametrize("name", _NOTED)
def test_a_fault_that_is_noted_is_in_the_table(name: str) -> None:
    assert f"`{name}" in _TABLE
