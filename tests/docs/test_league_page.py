"""``docs/league.md`` says what ``docs/league.json`` holds, and nothing else."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from hipnode.training.league.profiles import TASKS
from tests.league_page import whole
from tests.peers import ROOT
from tests.systems import RECIPES

DOCUMENT = json.loads((ROOT / "docs" / "league.json").read_text(encoding="utf-8"))


def test_page_is_made_from_the_file() -> None:
    assert (ROOT / "docs" / "league.md").read_text(encoding="utf-8") == whole(DOCUMENT)


def test_file_is_of_rows_and_patients_that_a_league_has() -> None:
    tasks = {task.name: task for task in TASKS}
    for name, found in DOCUMENT["tasks"].items():
        assert {row["system"] for row in found["rows"]} <= tasks[name].systems.keys()
        assert found["patients"] >= 600


def test_every_recipe_stands_there_and_what_is_said_of_it_is_so() -> None:
    lines = whole(DOCUMENT).split("## System by system")[1].splitlines()
    cells = {c[1].strip(): c for c in (line.split("|") for line in lines if line.startswith("| "))}
    assert {path.stem for path in RECIPES.glob("*.toml")} == cells.keys() - {"recipe", "---"}
    for task in DOCUMENT["tasks"].values():
        for row in task["rows"]:
            if task["of"] != "boxes" and row["system"] in cells:
                word = "yes" if row["low_over_seeds"] > 0.5 else "no"
                assert cells[row["system"]][3].strip().startswith(word)
