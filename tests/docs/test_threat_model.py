"""``docs/threat-model.md``: each row names a test that is there, each way has a row."""

from __future__ import annotations

import ast
import re

import pytest

from hipnode.services.torture.insider import WITH_FILES_TOO, WITH_THE_DATABASE
from tests.peers import ROOT

PAGE = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
WHO, WAYS = PAGE.split("## Ways to change a sealed answer")
_ROW = re.compile(r"^\| (?!---|who could|no\.)(.+) \|$", re.MULTILINE)
_PROOF = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
_LINK = re.compile(r"\[`(\w+)`\]\(\.\./([\w/]+\.py)\)")
PROOFS = sorted(set(_PROOF.findall(WHO)))


def _functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("path", "name"), PROOFS, ids=lambda part: part)
def test_a_proof_exists(path: str, name: str) -> None:
    assert (ROOT / path).is_file()
    assert not name or name in _functions(path)


def test_each_row_says_who_can_do_what_and_which_test_shows_it() -> None:
    rows = _ROW.findall(WHO)
    assert len(rows) > 15
    assert [row for row in rows if len(row.split(" | ")) != 3 or not _PROOF.search(row)] == []


def test_each_way_of_the_insider_has_a_row_that_links_to_it_and_its_test() -> None:
    """In the order in which they are tried; the test of each is the one that takes it."""
    ways = (*WITH_THE_DATABASE, *WITH_FILES_TOO)
    rows = _ROW.findall(WAYS)
    assert len(ways) >= 20
    assert len(rows) == len(ways)
    for number, (row, way) in enumerate(zip(rows, ways, strict=True), start=1):
        cells = row.split(" | ")
        assert cells[0] == str(number)
        assert len(cells) == 5
        (name, where), (test, tests) = _LINK.findall(cells[4])
        assert (name, where) == (way.__name__, "hipnode/services/torture/insider.py")
        alone = way in WITH_THE_DATABASE
        assert test in _functions(tests)
        assert ("alone" in test) is alone
