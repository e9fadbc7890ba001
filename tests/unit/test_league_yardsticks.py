"""What a row of a league is held against: measures and readers, and gates as rows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("monai")
pytest.importorskip("onnx")
pytest.importorskip("sklearn")

import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from hipnode.cli import app
from hipnode.errors import InputRefused
from hipnode.phantom import batch, load_recipe, read_manifest, readers, write_manifest
from hipnode.training.league.cortex import thickness_index
from hipnode.training.league.elsewhere import recalibrated
from hipnode.training.league.page import page
from hipnode.training.league.profiles import FRACTURE, OSTEOPOROSIS
from hipnode.training.league.yardsticks import yardsticks


@pytest.mark.parametrize("cortex_px", [8, 16, 24])
@pytest.mark.parametrize("turned", [False, True])
def test_cortical_thickness_index_is_what_was_drawn(cortex_px: int, turned: bool) -> None:
    """A shaft 80 pixels wide, at half a millimetre a pixel."""
    picture = np.zeros((200, 200))
    picture[:, 60:140] = 900
    picture[:, 60 + cortex_px : 140 - cortex_px] = 300
    near, far = (100.0, 60.0), (100.0, 160.0)
    if turned:
        picture, near, far = picture.T, (60.0, 100.0), (160.0, 100.0)
    found = thickness_index(picture, near, far, 0.5)
    assert found == pytest.approx(2 * cortex_px / 80, abs=0.03)
    assert thickness_index(picture * 3, near, far, 0.5) == pytest.approx(found)


def test_where_no_shaft_is_seen_nothing_is_measured() -> None:
    for far in ((100, 60.5), (100, 60), (float("nan"), 90)):
        with pytest.raises(InputRefused, match="no shaft"):
            thickness_index(np.zeros((200, 200)), (100, 60), far, 0.5)
    with pytest.raises(InputRefused, match="within the image"):
        thickness_index(np.ones((200, 200)), (-50, 60), (100, 160), 0.5)


def phantoms(folder: Path, name: str, splits: dict[str, int], **changes: bool) -> Path:
    """Draw people of each split as a league lays them down."""
    made, at = [], folder / "data" / name
    for number, (split, count) in enumerate(splits.items()):
        recipe = replace(load_recipe(name), splits={split: 1.0}, anatomies={split: 1}, **changes)
        made += list(batch.make_all(batch.Order(recipe, 7 + number, at), count, 1))
    write_manifest(at / "manifest.csv", made)
    return at / "manifest.csv"


@pytest.mark.slow
def test_thickness_tells_osteoporosis_but_less_than_all_that_is_drawn(tmp_path: Path) -> None:
    manifest = phantoms(tmp_path, "hips", {"train": 120, "test": 80})
    area = {one["name"]: one["auc"][0] for one in yardsticks(OSTEOPOROSIS, tmp_path)}
    (measured,) = [value for name, value in area.items() if name.startswith("cortical")]
    (drawn,) = [
        value for name, value in area.items() if name.endswith("drawn, by logistic regression")
    ]
    assert 0.6 < measured < drawn
    assert area["always the commonest class"] == 0.5
    text = manifest.read_text()
    manifest.write_text(text.replace("shaft_near:", "shaft_close:", 1))
    names = [one["name"] for one in yardsticks(OSTEOPOROSIS, tmp_path)]
    assert len(names) == len(area) - 1, "one hip that cannot be measured ends no league"


@pytest.mark.slow
def test_readers_are_those_that_the_phantom_makes(tmp_path: Path) -> None:
    rows = read_manifest(phantoms(tmp_path, "broken", {"test": 24}, readers=True))
    for row in rows:
        (side,) = [one for one in ("right", "left", "side unknown") if row[f"{one}_label"]]
        there = {name: row[f"{side}_reader_{name}"] for name in readers.READERS}
        assert readers.of_row(row) == there
    told = {one["name"]: one for one in yardsticks(FRACTURE, tmp_path)}
    report = told["a reader as often right as Gale's reports"]
    hospital = told["a reader as often right as Murphy's hospital"]
    assert (
        report["accuracy"] > hospital["accuracy"] > told["always the commonest class"]["accuracy"]
    )
    assert 0.5 < hospital["recall"] <= report["recall"] <= 1


def test_recalibration_mends_a_shifted_score_and_no_useless_one() -> None:
    rng = np.random.default_rng(0)
    true = (rng.random(1000) < 0.8).astype(int)
    for told, gain in ((3.0, 0.2), (0.0, 0.0)):
        logit = told * (true - 0.5) + rng.normal(0, 1, 1000) - 2.5
        p = 1 / (1 + np.exp(-logit))
        both = recalibrated(true, np.stack([1 - p, p], 1), [1])
        assert both is not None
        before, after = both
        assert after >= max(before + gain, 0.77), "the commonest class is right in 0.8"
        assert before < 0.7
    assert recalibrated(true[:150], np.full((150, 2), 0.5), [1]) is None
    assert recalibrated(np.ones(400, int), np.full((400, 2), 0.5), [1]) is None


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_gate_is_played_and_told_by_precision_and_recall(tmp_path: Path) -> None:
    gate = "gale2017-cnn-frontal"
    command = ["league", "--profile", "smoke", "--only", gate, "--out", str(tmp_path)]
    done = CliRunner().invoke(app, [*command, "--seeds", "1"])
    assert done.exit_code == 0, done.output
    document = json.loads((tmp_path / "league.json").read_text())
    ((task, found),) = document["tasks"].items()
    (row,) = found["rows"]
    assert (row["system"], found["of"], found["yardsticks"]) == (gate, "gates", [])
    assert row["printed"]["precision"] == "more than 0.99"
    text = (tmp_path / "league.md").read_text()
    assert text == page(document)
    assert f"## {task.capitalize()}: 24 test patients" in text
    assert "| recall |" in text


@pytest.mark.slow
def test_what_learned_without_labels_stands_beside_what_learned_nothing(tmp_path: Path) -> None:
    command = ["league", "--profile", "smoke", "--seeds", "1", "--out", str(tmp_path), "--only"]
    for only in ("dxa2023-vit-s-untrained", "dxa2023-vit-s-dino"):
        done = CliRunner().invoke(app, [*command, only])
        assert done.exit_code == 0, done.output
    assert done.output.count("learns without labels") == 1
    document = json.loads((tmp_path / "league.json").read_text())
    assert len(document["tasks"]["risk"]["rows"]) == 2
    (asked,) = document["findings"]
    assert asked["claim"] == "what ViT-S learned by DINO helps a frozen network"
    kept, learned = sorted(tmp_path.glob("backbones/*/backbone.safetensors"), key=str, reverse=True)
    nothing, something = load_file(kept), load_file(learned)
    assert nothing.keys() == something.keys()
    (bundle,) = tmp_path.glob("risk/dxa2023-vit-s-untrained/seed-0/*/bundle")
    served = load_file(bundle / "models" / "model.safetensors")
    half = {name: each.half() for name, each in nothing.items()}
    assert all(torch.equal(served[name].half(), half[name]) for name in half), "it stays so"
    assert not list(tmp_path.glob("backbones/*.run/*.pt")), "no checkpoint is left"
