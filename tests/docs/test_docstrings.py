"""Docstrings of the parts that stand on the Standard or on papers: numpydoc, and complete.

Every public class and function says what it is; one that raises lists what under *Raises*; one that
takes or gives an array says its shape and dtype. What a package exports also lists what it takes
under *Parameters*. A module that speaks DICOM cites PS3.x, a network cites its paper.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers import ROOT

_PLACES = ("codes.py", "dicom", "imaging", "nets", "reporting", "services/listener")
_SHAPE = re.compile(r"\([a-z0-9'_*]+(, ?[a-z0-9'_*]*)+\)", re.IGNORECASE)
_DTYPE = re.compile(r"float32|float64|uint8|uint16|int16|int32|int64|bool")
_STANDARD = re.compile(r"PS3\.\d+ ")
_SPEAKS_DICOM = re.compile(r"^(?:from|import) (?:pydicom|pynetdicom|highdicom)\b", re.MULTILINE)
_PAPER = re.compile(r"\b(?:19|20)\d\d\b")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def _modules() -> list[Path]:
    places = (ROOT / "hipnode" / place for place in _PLACES)
    return sorted(
        path
        for place in places
        for path in ([place] if place.suffix == ".py" else place.rglob("*.py"))
        if path.is_file()
    )


@dataclass(frozen=True)
class Public:
    """A public class or function, and where it is."""

    path: Path
    name: str
    node: ast.ClassDef | Function

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT / 'hipnode')}:{self.name}"

    @property
    def doc(self) -> str:
        return ast.get_docstring(self.node) or ""

    @property
    def decorators(self) -> set[str]:
        return {ast.unparse(decorator) for decorator in self.node.decorator_list}


def _public(path: Path) -> Iterator[Public]:
    def walk(body: list[ast.stmt], prefix: str) -> Iterator[Public]:
        for node in body:
            if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
                yield Public(path, prefix + node.name, node)
                if isinstance(node, ast.ClassDef):
                    yield from walk(node.body, f"{node.name}.")

    yield from walk(ast.parse(path.read_text(encoding="utf-8")).body, "")


MODULES = _modules()
PUBLIC = [item for path in MODULES for item in _public(path)]
FUNCTIONS = [
    item
    for item in PUBLIC
    if isinstance(item.node, Function)
    and item.node.name != "forward"  # PyTorch's own name and contract
    and not item.decorators & {"property", "overload", "override", "typing.override"}
]


def _exported(item: Public) -> bool:
    """Tell whether other packages use it: its package's ``__init__`` names it."""
    init = item.path.parent / "__init__.py"
    if not init.is_file() or item.path.name == "codes.py":
        return True
    text = init.read_text(encoding="utf-8")
    return item.path == init or bool(re.search(rf"\b{item.name.partition('.')[0]}\b", text))


def _parameters(node: Function) -> list[ast.arg]:
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [argument for argument in arguments if argument.arg not in {"self", "cls"}]


def _own_raises(node: ast.AST) -> Iterator[ast.Raise]:
    """Yield the ``raise X`` statements of a function itself, not of those nested in it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Raise) and isinstance(child.exc, ast.Call):
            yield child
        elif not isinstance(child, Function | ast.Lambda | ast.ClassDef | ast.Try):
            yield from _own_raises(child)
        elif isinstance(child, ast.Try):
            for handler in child.handlers:
                yield from _own_raises(handler)


def _section(doc: str, name: str) -> bool:
    return re.search(rf"^{name}\n-{{{len(name)}}}$", doc, re.MULTILINE) is not None


def test_there_is_something_to_look_at() -> None:
    assert len(FUNCTIONS) > 50
    assert {path.relative_to(ROOT / "hipnode").parts[0] for path in MODULES} == {
        "codes.py",
        "dicom",
        "imaging",
        "nets",
        "reporting",
        "services",
    }


@pytest.mark.parametrize("item", PUBLIC, ids=str)
def test_it_says_what_it_is(item: Public) -> None:
    if "property" not in item.decorators and item.node.name != "forward":
        assert item.doc.strip(), "no docstring"


@pytest.mark.parametrize("item", FUNCTIONS, ids=str)
def test_function_lists_what_it_raises(item: Public) -> None:
    if any(_own_raises(item.node)):
        assert _section(item.doc, "Raises"), "raises, and has no Raises section"


@pytest.mark.parametrize("item", [f for f in FUNCTIONS if _exported(f)], ids=str)
def test_exported_function_lists_what_it_takes(item: Public) -> None:
    assert isinstance(item.node, Function)
    parameters = _parameters(item.node)
    if len(parameters) >= 2:
        assert _section(item.doc, "Parameters"), "two parameters or more, and no Parameters section"
        missing = [p.arg for p in parameters if not re.search(rf"\b{p.arg}\b", item.doc)]
        assert not missing, f"not under Parameters: {missing}"


@pytest.mark.parametrize("item", FUNCTIONS, ids=str)
def test_arrays_have_a_shape_and_a_type(item: Public) -> None:
    assert isinstance(item.node, Function)
    annotations = [p.annotation for p in _parameters(item.node)] + [item.node.returns]
    if any("NDArray" in ast.unparse(annotation) for annotation in annotations if annotation):
        assert _SHAPE.search(item.doc), "an array, and no shape such as (rows, columns)"
        assert _DTYPE.search(item.doc), "an array, and no dtype"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / "hipnode")))
def test_module_names_what_it_follows(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if _SPEAKS_DICOM.search(text) and any(isinstance(i.node, Function) for i in _public(path)):
        assert _STANDARD.search(text), "speaks DICOM, and cites no section of the Standard"
    if path.parent.name == "architectures" and path.name != "__init__.py":
        assert _PAPER.search(ast.get_docstring(ast.parse(text)) or ""), "a network without a paper"
