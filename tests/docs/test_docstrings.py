"""Docstrings of the parts that stand on the Standard or on papers: numpydoc, and complete.

Every public class and function says what it is; one that raises lists what under *Raises*; one that
takes or gives an array says its shape and dtype. What a package exports also lists what it takes
under *Parameters*. A module that speaks DICOM cites PS3.x, a network cites its paper.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
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


def _without_words(item: Public) -> Iterator[str]:
    if "property" not in item.decorators and item.node.name != "forward" and not item.doc.strip():
        yield "no docstring"


def _unlisted_errors(item: Public) -> Iterator[str]:
    if any(_own_raises(item.node)) and not _section(item.doc, "Raises"):
        yield "raises, and has no Raises section"


def _unlisted_parameters(item: Public) -> Iterator[str]:
    parameters = _parameters(item.node) if isinstance(item.node, Function) else []
    if len(parameters) < 2 or not _exported(item):
        return
    if not _section(item.doc, "Parameters"):
        yield "two parameters or more, and no Parameters section"
    missing = [p.arg for p in parameters if not re.search(rf"\b{p.arg}\b", item.doc)]
    if missing:
        yield f"not under Parameters: {missing}"


def _unspoken_arrays(item: Public) -> Iterator[str]:
    if not isinstance(item.node, Function):
        return
    annotations = [p.annotation for p in _parameters(item.node)] + [item.node.returns]
    if any("NDArray" in ast.unparse(annotation) for annotation in annotations if annotation):
        if not _SHAPE.search(item.doc):
            yield "an array, and no shape such as (rows, columns)"
        if not _DTYPE.search(item.doc):
            yield "an array, and no dtype"


@pytest.mark.parametrize(
    ("rule", "items"),
    [
        (_without_words, PUBLIC),
        (_unlisted_errors, FUNCTIONS),
        (_unlisted_parameters, FUNCTIONS),
        (_unspoken_arrays, FUNCTIONS),
    ],
    ids=["it says what it is", "what it raises", "what it takes", "shapes and types of arrays"],
)
def test_a_docstring_is_complete(
    rule: Callable[[Public], Iterator[str]], items: list[Public]
) -> None:
    faults = [f"{item}: {fault}" for item in items for fault in rule(item)]
    assert not faults, "\n".join(faults)


def _unnamed_sources(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(ROOT / "hipnode")
    speaks = _SPEAKS_DICOM.search(text) and any(isinstance(i.node, Function) for i in _public(path))
    if speaks and not _STANDARD.search(text):
        yield f"{name}: speaks DICOM, and cites no section of the Standard"
    is_network = path.parent.name == "architectures" and path.name != "__init__.py"
    if is_network and not _PAPER.search(ast.get_docstring(ast.parse(text)) or ""):
        yield f"{name}: a network without a paper"


def test_modules_name_what_they_follow() -> None:
    faults = [fault for path in MODULES for fault in _unnamed_sources(path)]
    assert not faults, "\n".join(faults)
