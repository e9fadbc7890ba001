"""From a manifest to a bundle and its evaluation, on images small enough to learn in seconds."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("monai")
pytest.importorskip("onnx")
pytest.importorskip("sklearn")
pytest.importorskip("statsmodels")

from hipnode.errors import ManifestInvalid
from hipnode.training.judge.evaluate import evaluate
from hipnode.training.recipe.plan import Plan, learning_rate
from hipnode.training.recipe.recipe import SHIPPED, Recipe, RecipeInvalid, read_recipe
from hipnode.training.runs.train import train
from hipnode.training.samples.manifest import read_manifest

pytestmark = pytest.mark.slow

HEADER = ["file", "patient_id", "split", "view", "right_box", "right_label", "right_implant"]


def write(folder: Path, rows: list[list[str]]) -> Path:
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return manifest


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty images: a bright bar across the box is a fracture."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    rows = []
    for index in range(30):
        broken = index % 2
        pixels = rng.normal(90, 12, (64, 80))
        if broken:
            pixels[28:34, 10:50] += 120
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{index}.png")
        split = "train" if index < 20 else "val" if index < 26 else "test"
        label = "intracapsular" if broken else "no_fracture"
        rows.append([f"{index}.png", f"P{index}", split, "frontal", "4 4 60 60", label, ""])
    return write(folder, rows)


def tiny(**changes: object) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "tiny",
            "paper": "none",
            "system": "tiny",
            "role": "fracture",
            "card": "A test. NOT FOR CLINICAL USE.",
            "labels": ["no_fracture", "fracture"],
            "positive_labels": ["fracture"],
            "outputs": ["logits"],
            "network": {
                "name": "gale_template",
                "arguments": {"depth": 4, "width": 8, "head_px": 2, "outputs": 2},
            },
            "preprocessing": {"size_px": 32},
            "plan": {"epochs": 6, "batch": 10, "learning_rate": 0.02, "bf16": False, "view": 0.8},
            "augmentation": {"rotate_deg": 5, "invert": 0, "curve": 0.2, "blur_px": 0},
        }
        | changes
    )


def test_train_and_evaluate(manifest: Path, tmp_path: Path) -> None:
    model = train(tiny(), manifest, tmp_path / "bundle")
    assert model.spec.labels == ("no_fracture", "fracture")
    assert (tmp_path / "bundle.run" / "curves.png").stat().st_size > 1000
    found = evaluate(tmp_path / "bundle", manifest, tmp_path / "report")
    assert found.count == 4
    assert {one.name: one.value for one in found.figures}["accuracy"] == 1.0
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    assert results["model"]["digest"] == model.spec.digest
    for name in ("roc.png", "reliability.png", "coverage.png", "predictions.csv", "report.md"):
        assert (tmp_path / "report" / name).stat().st_size > 100


def test_resumed_run_ends_with_the_same_bits(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tiny(), manifest, tmp_path / "whole")

    class Killed(Exception):
        pass

    def kill(row: dict[str, float]) -> None:
        if row["epoch"] == 2:
            raise Killed

    from hipnode.training.runs.train import Telling

    with pytest.raises(Killed):
        train(tiny(), manifest, tmp_path / "broken", telling=Telling(epoch=kill))
    seen: list[float] = []
    resumed = train(
        tiny(),
        manifest,
        tmp_path / "broken",
        resume=True,
        telling=Telling(epoch=lambda row: seen.append(row["epoch"])),
    )
    assert seen == [3, 4, 5]
    assert resumed.spec.digest == whole.spec.digest


def test_checkpoint_of_another_plan_is_refused(manifest: Path, tmp_path: Path) -> None:
    train(tiny(), manifest, tmp_path / "bundle")
    other = tiny(plan={"epochs": 7, "batch": 10, "bf16": False, "view": 0.8})
    with pytest.raises(Exception, match="another plan"):
        train(other, manifest, tmp_path / "bundle", resume=True)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (["a.png", "", "train", "", "", "", ""], "line 2: file or patient_id is empty"),
        (["a.png", "P", "training", "", "", "", ""], "line 2: split 'training'"),
        (["a.png", "P", "train", "", "1 2 3", "", ""], "line 2: right_box is '1 2 3'"),
        (["a.png", "P", "train", "", "9 9 2 2", "", ""], "line 2: right_box"),
        (["a.png", "P", "train", "", "", "", "", "more"], "line 2 has more cells"),
    ],
)
def test_bad_row_is_named(tmp_path: Path, row: list[str], reason: str) -> None:
    with pytest.raises(ManifestInvalid, match=reason):
        read_manifest(write(tmp_path, [row]))


def test_missing_label_and_missing_file_are_named(tmp_path: Path) -> None:
    row = ["a.png", "P", "train", "frontal", "0 0 9 9", "", ""]
    with pytest.raises(ManifestInvalid, match="line 2: the right hip has no label"):
        train(tiny(), write(tmp_path, [row]), tmp_path / "bundle")
    row[5] = "no_fracture"
    with pytest.raises(ManifestInvalid, match=r"line 2: .*a\.png"):
        train(tiny(), write(tmp_path, [row]), tmp_path / "bundle")


def test_patient_in_two_splits_is_refused(tmp_path: Path) -> None:
    rows = [[f"{split}.png", "P", split, "", "", "", ""] for split in ("train", "test")]
    with pytest.raises(ManifestInvalid, match="line 3: patient 'P' is in test here and in train"):
        read_manifest(write(tmp_path, rows))


def test_patients_are_dealt_out_whole(tmp_path: Path) -> None:
    rows = [[f"{i}.png", f"P{i % 50}", "", "", "", "", ""] for i in range(200)]
    found = read_manifest(write(tmp_path, rows))
    by_patient = {row.patient: row.split for row in found}
    assert all(by_patient[row.patient] == row.split for row in found)
    assert set(by_patient.values()) == {"train", "val", "test"}


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.toml")))
def test_shipped_recipe_is_usable(name: str) -> None:
    recipe = read_recipe(name)
    assert recipe.name == name


def test_wrong_recipe_names_the_key(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    text = (SHIPPED / "murphy2022-cnn2.toml").read_text()
    path.write_text(text.replace("batch = 32", "batches = 32"))
    with pytest.raises(RecipeInvalid, match=r"plan\.batches"):
        read_recipe(path)


def test_learning_rate_rises_then_falls() -> None:
    plan = Plan(learning_rate=1.0, warmup=0.1, schedule="cosine")
    rates = [learning_rate(step, 100, plan) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.02
