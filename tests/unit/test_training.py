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

from typer.testing import CliRunner

from hipnode.cli import app
from hipnode.errors import InputRefused, ManifestInvalid
from hipnode.nets import load_bundle
from hipnode.training.judge.evaluate import evaluate
from hipnode.training.recipe.plan import Plan, learning_rate
from hipnode.training.recipe.recipe import SHIPPED, Recipe, RecipeInvalid, read_recipe
from hipnode.training.runs.train import Telling, train
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
    for name in ("last.pt", "best.pt"):
        path = tmp_path / "bundle.run" / name
        whole = path.read_bytes()
        for damaged in (whole[:-400], whole[:900], b"", b"no checkpoint"):
            path.write_bytes(damaged)
            with pytest.raises(InputRefused, match=f"{name} cannot be read"):
                train(tiny(), manifest, tmp_path / "bundle", resume=True)
        path.write_bytes(whole)


def test_a_bundle_takes_the_place_of_another_as_a_whole(manifest: Path, tmp_path: Path) -> None:
    plan = {"epochs": 1, "batch": 10, "bf16": False, "view": 0.8}
    out = tmp_path / "runs" / "bundle"
    out.mkdir(parents=True)
    first = train(tiny(plan=plan), manifest, out)
    (out / "MANIFEST.ed25519").write_bytes(b"a signature of the first")
    second = train(tiny(plan=plan | {"seed": 1}), manifest, out)
    assert first.spec.digest != second.spec.digest
    assert second.path == out
    assert load_bundle(out).spec.digest == second.spec.digest
    assert {path.name for path in out.parent.iterdir()} == {"bundle", "bundle.run"}

    def write_beside(row: dict[str, float]) -> None:  # while the network learns
        (out / "notes.txt").write_text("mine")

    with pytest.raises(InputRefused, match=r"notes\.txt is not of an earlier run"):
        train(tiny(plan=plan), manifest, out, telling=Telling(epoch=write_beside))
    assert (out / "notes.txt").read_text() == "mine"
    assert {path.name for path in out.parent.iterdir()} == {"bundle", "bundle.run"}


def run(*options: str) -> tuple[int, str]:
    """Run ``hipnode train`` on a manifest that is not there: what is refused is so before it."""
    done = CliRunner().invoke(app, ["train", "--data", "none.csv", *options])
    return done.exit_code, done.output + str(done.exception)


def test_a_folder_of_somebody_else_is_refused_before_anything_is_learned(tmp_path: Path) -> None:
    project, file, new = tmp_path / "project", tmp_path / "file", tmp_path / "new"
    (project / "docs").mkdir(parents=True)
    (project / "docs" / "README.md").write_text("mine")  # a bundle has one, too
    file.write_text("mine")
    for out, why in (
        (project, "README.md is not of an earlier run"), (file, "is no folder"),
        (Path(), "has no name of its own"), (new, "none.csv cannot be read"),
    ):  # fmt: skip
        for recipe in ("dxa2023-clinical", "dxa2023-moco-vit-s"):
            code, said = run(recipe, "--out", str(out))
            assert (code, why in said) == (1, True), said
    for kind in ("--folds", "--leave-out"):
        mine = tmp_path / kind / "fold-1" / "notes.txt"
        mine.parent.mkdir(parents=True)
        mine.write_text("mine")
        code, said = run("dxa2023-clinical", kind, "2", "--out", str(tmp_path / kind))
        assert (code, "notes.txt is not of an earlier run" in said) == (1, True), said
    assert {path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == {"mine"}


@pytest.mark.parametrize(
    ("options", "code", "why"),
    [
        (("--folds", "1"), 2, "Invalid value for '--folds'"),
        (("--folds", "-2"), 2, "Invalid value for '--folds'"),
        (("--leave-out", "-2"), 2, "Invalid value for '--leave-out'"),
        (("--device", "banana"), 2, "'banana' is none of cpu, cuda"),
        (("--device", "cuda:99"), 1, "device cuda:99 is not there"),
        (("--version", "../../x"), 1, "version is '../../x'"),
        (("--set", "plan.learning_rate=inf"), 1, "plan.learning_rate is inf, no finite number"),
        (("--set", "augmentation.rotate_deg=nan"), 1, "augmentation.rotate_deg"),
        (("--set", "plan.seed=-1"), 1, "plan.seed is -1, not from 0"),
        (("--set", f"plan.seed={2**40}"), 1, "not from 0"),
        (("--folds", "2", "--everything"), 2, "--everything means nothing to --folds"),
        (("--folds", "2", "--version", "0.1.0"), 2, "--version means nothing to --folds"),
        (("--leave-out", "2", "--folds", "2"), 2, "--folds means nothing to --leave-out"),
        (("--leave-out", "2", "--resume"), 2, "--resume means nothing to --leave-out"),
        (("--of", "real"), 2, "--of means nothing to a run without --leave-out"),
        (("--data", "./none.csv"), 2, "--data names a file twice"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_followed_are_refused_at_once(
    tmp_path: Path, options: tuple[str, ...], code: int, why: str
) -> None:
    got, said = run("dxa2023-clinical", "--out", str(tmp_path / "out"), *options)
    assert (got, why in said) == (code, True), said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "option", [("--folds", "2"), ("--leave-out", "2"), ("--weights", "w"), ("--version", "1.0.0")]
)
def test_a_recipe_without_labels_takes_no_option_of_those_with(
    tmp_path: Path, option: tuple[str, str]
) -> None:
    code, said = run("dxa2023-moco-vit-s", "--out", str(tmp_path / "out"), *option)
    assert (code, f"{option[0]} means nothing to a recipe without labels" in said) == (2, True)


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
