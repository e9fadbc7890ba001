"""``docs/league.md`` says what ``docs/league.json`` holds, and nothing else."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from hipnode.training.league.profiles import TASKS
from hipnode.training.league.table import page
from tests.league_page import HEAD
from tests.peers import ROOT

DOCUMENT = json.loads((ROOT / "docs" / "league.json").read_text(encoding="utf-8"))


def test_page_is_made_from_the_file() -> None:
    assert (ROOT / "docs" / "league.md").read_text(encoding="utf-8") == HEAD + page(DOCUMENT)


def test_file_is_of_rows_and_patients_that_a_league_has() -> None:
    tasks = {task.name: task for task in TASKS}
    for name, found in DOCUMENT["tasks"].items():
        assert {row["system"] for row in found["rows"]} <= tasks[name].systems.keys()
        assert found["patients"] >= 600
