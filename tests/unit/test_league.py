"""A league in miniature: cells are played once, known again, and told in a table that holds."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("monai")
pytest.importorskip("onnx")
pytest.importorskip("sklearn")
pytest.importorskip("statsmodels")

from typer.testing import CliRunner

from hipnode.cli import app
from hipnode.errors import InputRefused
from hipnode.training.league import findings, table
from hipnode.training.league.cells import cells, key_of
from hipnode.training.league.compare import compare
from hipnode.training.league.profiles import PROFILES, TASKS
from hipnode.training.recipe.recipe import Pretraining
from hipnode.training.stats.paired import Area
from tests.peers import ROOT

SMOKE = PROFILES["smoke"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty hips: the brighter, the denser; age tells a part."""
    at = tmp_path_factory.mktemp("league") / "data" / "hips"
    at.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for index in range(64):
        ill = index % 2
        pixels = rng.normal(60, 8, (48, 48))
        pixels[16:32, 8:40] += 30 + 90 * (1 - ill)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(at / f"{index:02d}.png")
        rows.append(
            {
                "file": f"{index:02d}.png", "patient_id": f"P{index:02d}",
                "split": "train" if index < 32 else "val" if index < 40 else "test",
                "view": "one_hip", "right_box": "4 4 44 44", "right_label": "no_fracture",
                "osteoporosis": ill, "age": 70 + 8 * ill + rng.normal(0, 6), "sex": "F",
                "bmi": 24.0 + rng.normal(), "hip_fracture_history": (index % 3 == 0 and 1) or 0,
                "cortex_t": -3.0 * ill + rng.normal(), "trabecular_t": -2.0 * ill, "singh": 3,
                "size": 1.0,
            }
        )  # fmt: skip
    with (at / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return at.parents[1]


@pytest.mark.slow
def test_a_league_is_played_known_again_and_told(folder: Path) -> None:
    command = [
        "league", "--profile", "smoke", "--only", "yamamoto2020-googlenet*", "--seeds", "1",
        "--out", str(folder),
    ]  # fmt: skip
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0, first.output
    assert first.output.count("learns") == 2
    again = CliRunner().invoke(app, command)
    assert again.output.count("learns") == 0, "a finished cell is not played again"
    document = json.loads((folder / "league.json").read_text())
    rows = {row["system"]: row for row in document["tasks"]["osteoporosis"]["rows"]}
    assert rows.keys() == {"yamamoto2020-googlenet", "yamamoto2020-googlenet-clinical"}
    for row in rows.values():
        low, high = row["auc"][1:]
        assert low <= row["auc"][0] <= high
        assert row["served_ms"] > 0
    assert rows["yamamoto2020-googlenet"]["printed_auc"] == "0.9064"
    assert [one["claim"] for one in document["findings"]] == ["clinical covariates help googlenet"]
    yardsticks = {
        one["name"]: one["auc"][0] for one in document["tasks"]["osteoporosis"]["yardsticks"]
    }
    assert max(yardsticks.values()) > 0.9  # the latents tell all here
    text = (folder / "league.md").read_text()
    assert text == table.page(document)
    assert "NOT FOR CLINICAL USE" in text
    one, other = (
        next((folder / "osteoporosis" / name / "seed-0").glob("*/bundle")) for name in rows
    )
    manifest = folder / "data" / "hips" / "manifest.csv"
    found = compare(one, other, manifest, folder / "pair", views=("one_hip",))
    values = {figure.name: figure.value for figure in found}
    assert values["AUC, other less one"] == pytest.approx(values["AUC, other"] - values["AUC, one"])
    assert 0 <= values["p of the difference (DeLong)"] <= 1
    with pytest.raises(InputRefused, match="name other classes"):
        compare(one, ROOT / "hipnode/models/dxa2023-resnet18", manifest, folder / "pair")


def test_a_key_changes_with_what_a_result_depends_on(folder: Path) -> None:
    manifest = folder / "data" / "hips" / "manifest.csv"
    cell = cells(SMOKE, 1, "yamamoto2020-resnet18")[0]
    same = key_of(cell, manifest)
    assert same == key_of(replace(cell), manifest)
    assert same != key_of(replace(cell, seed=1), manifest)
    other = replace(SMOKE, changes=(*SMOKE.changes, "plan.batch=8"))
    assert same != key_of(replace(cell, profile=other), manifest)
    changed = manifest.with_name("changed.csv")
    changed.write_text(manifest.read_text() + "\n")
    assert same != key_of(cell, changed)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_row_of_every_profile_is_a_recipe_that_stands(profile: str) -> None:
    played = cells(PROFILES[profile], 2)
    assert [cell.seed for cell in played] == sorted(cell.seed for cell in played)
    assert len(played) == 2 * sum(len(task.systems) for task in TASKS)
    for cell in played:
        recipe, start = cell.recipe, cell.pretraining
        assert recipe.plan.seed == cell.seed
        assert isinstance(start, Pretraining) or not recipe.needs_weights
        if start:  # what goes on from it can take it
            ours = recipe.network.arguments | {"covariates": 0}
            assert recipe.preprocess.size_px == start.preprocess.size_px
            assert ours == start.network.arguments | {"covariates": 0}
    jang = {cell.system: cell.recipe.network.arguments for cell in cells(SMOKE, 1, "jang*")}
    assert {name: given["non_local"] for name, given in jang.items()} == {
        "jang2022-vgg16": True, "jang2022-vgg16-without-non-local": False,
    }  # fmt: skip


def test_findings_are_reproduced_refuted_or_left_open() -> None:
    names = {name for one in findings.FINDINGS for name in one.better + one.than}
    rows = {name for task in TASKS for name in task.systems}
    assert names <= rows, "a finding asks for rows that no league has"

    def word(difference: float, deviation: float) -> str:
        rng = np.random.default_rng(1)
        noise = rng.normal(0, 1, 100)
        noise *= deviation / np.sqrt((noise**2).sum())
        flat = Area(0.8, np.zeros(100))
        areas = {
            "osteoporosis": {
                "yamamoto2020-resnet18": flat,
                "yamamoto2020-resnet18-clinical": Area(0.8 + difference, noise),
            }
        }
        (found,) = findings.outcomes(areas)
        return found.word

    assert word(0.03, 0.005) == "reproduced"
    assert word(-0.02, 0.005) == "refuted"
    assert word(0.002, 0.02) == "not enough power"
