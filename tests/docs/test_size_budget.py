"""Files of at most 400 lines, functions of at most 60 lines of code: one sitting each.

Files of tests may have 500: a suite reads like a list, from which one entry is picked.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers import ROOT

MAX_FILE_LINES = {"hipnode": 400, "tests": 500}
MAX_FUNCTION_LINES = 60
_GENERATED = ROOT / "hipnode" / "storage" / "database" / "migrations" / "versions"
FILES = sorted(
    path
    for folder in ("hipnode", "tests")
    for path in (ROOT / folder).rglob("*.py")
    if _GENERATED not in path.parents and "node_modules" not in path.parts
)


def _functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the name of each function and its lines of code: its length less its docstring."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node, clean=False) is not None:
                docstring = node.body[0]
                lines -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
            yield node.name, lines


def test_there_is_something_to_measure() -> None:
    assert len(FILES) > 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_and_its_functions_are_within_the_budget(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    folder = path.relative_to(ROOT).parts[0]
    assert lines <= MAX_FILE_LINES[folder], f"{lines} lines"
    if folder == "tests":
        return
    long = {name: count for name, count in _functions(path) if count > MAX_FUNCTION_LINES}
    assert not long, f"functions longer than {MAX_FUNCTION_LINES} lines of code: {long}"


def test_bundles_are_small() -> None:
    """None above 12 MB, all together below 20: they travel with every install and image."""
    folder = ROOT / "hipnode" / "models"
    sizes = {
        bundle.name: sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
        for bundle in folder.iterdir()
        if bundle.is_dir()
    }
    assert len(sizes) >= 7
    assert max(sizes.values()) < 12e6, sizes
    assert sum(sizes.values()) < 20e6, sizes
