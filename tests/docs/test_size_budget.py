"""Files of at most 400 lines, functions of at most 60 lines of code: one sitting each."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.peers import ROOT

MAX_FILE_LINES = 400
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


def _beyond(path: Path) -> Iterator[str]:
    """Yield in what a file is beyond the budget."""
    name = path.relative_to(ROOT)
    lines = len(path.read_text(encoding="utf-8").splitlines())
    if lines > MAX_FILE_LINES:
        yield f"{name}: {lines} lines"
    if name.parts[0] != "tests":
        for function, count in _functions(path):
            if count > MAX_FUNCTION_LINES:
                yield f"{name}: {function} has {count} lines of code"


def test_files_and_functions_are_within_the_budget() -> None:
    faults = [fault for path in FILES for fault in _beyond(path)]
    assert not faults, "\n".join(faults)


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
