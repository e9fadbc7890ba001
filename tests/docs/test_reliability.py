"""Every promise of ``docs/reliability.md`` names tests that exist."""

from __future__ import annotations

import ast
import re

import pytest

from tests.peers import ROOT

PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| (?!---|promise|what breaks|no\.)(.+) \|$", re.MULTILINE)
_PROOF = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
PROOFS = sorted(set(_PROOF.findall(PAGE)))


@pytest.mark.parametrize(("path", "name"), PROOFS, ids=lambda part: part)
def test_a_proof_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    defined = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    defined |= {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert not name or name in defined


def test_every_promise_has_a_proof() -> None:
    rows = [row for row in _ROW.findall(PAGE) if not set(row) <= set("-| ")]
    assert len(rows) > 50
    assert [row for row in rows if not _PROOF.search(row)] == []


def test_every_pain_is_there() -> None:
    numbers = re.findall(r"^\| (\d+(?:, \d+)*) \|", PAGE, re.MULTILINE)
    assert [int(n) for group in numbers for n in group.split(", ")] == list(range(1, 21))
