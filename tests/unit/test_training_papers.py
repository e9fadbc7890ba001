"""The papers' systems in miniature: every mechanism of a recipe, on images learned in seconds."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("monai")
pytest.importorskip("onnx")
pytest.importorskip("sklearn")
pytest.importorskip("mapie")

import torch
from safetensors.torch import load_file

from hipnode.errors import InputRefused, ManifestInvalid
from hipnode.nets import load_bundle
from hipnode.training.judge.evaluate import evaluate
from hipnode.training.judge.relabel import doubts, simulated, take_answers, write_worklist
from hipnode.training.learn.features import head_alone
from hipnode.training.learn.losses import class_weights, extents, objective
from hipnode.training.recipe.augmentation import Augmentation
from hipnode.training.recipe.recipe import Pretraining, Recipe, RecipeInvalid, read_recipe
from hipnode.training.runs.crossval import cross_validate
from hipnode.training.runs.pretrain import is_whole, pretrain
from hipnode.training.runs.train import start, train
from hipnode.training.samples.batches import Samples

pytestmark = pytest.mark.slow

PLAN: dict[str, Any] = {"epochs": 3, "batch": 8, "learning_rate": 0.02, "bf16": False, "ema": 0.5}
CALM: dict[str, Any] = {
    "rotate_deg": 2, "curve": 0, "shading": 0, "noise": 0, "blur_px": 0, "sharpen": 0,
    "shutter": 0, "erase": 0,
}  # fmt: skip
TEMPLATE = {"depth": 3, "width": 8, "head_px": 4, "outputs": 2}


def recipe(**changes: Any) -> Recipe:
    document: dict[str, Any] = {
        "name": "tiny",
        "paper": "none",
        "system": "tiny",
        "role": "fracture",
        "card": "A test. NOT FOR CLINICAL USE.",
        "labels": ["no_fracture", "fracture"],
        "positive_labels": ["fracture"],
        "outputs": ["logits"],
        "network": {"name": "gale_template", "arguments": TEMPLATE},
        "preprocessing": {"size_px": 32, "flip_left_to_right": True},
        "plan": PLAN,
        "augmentation": CALM,
    }
    return Recipe.model_validate(document | changes)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pelves: bright squares are hips, a dark bar is a fracture, vitamin D is the risk."""
    folder = tmp_path_factory.mktemp("pelves")
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for index in range(40):
        pixels = rng.normal(40, 6, (64, 96))
        row: dict[str, Any] = {
            "file": f"{index}.png",
            "patient_id": f"P{index}",
            "split": "train" if index < 24 else "val" if index < 32 else "test",
            "view": "frontal",
            "risk": ("low", "moderate", "high")[index % 3],
            "vitamin_d": 10 + 20 * (index % 3) + rng.normal(),
        }
        for side, left in (("right", 8), ("left", 60)):
            x, y = left + int(rng.integers(-4, 5)), 20 + int(rng.integers(-6, 7))
            broken = (index + (side == "left")) % 2
            pixels[y : y + 26, x : x + 26] += 120
            if broken:
                pixels[y + 10 : y + 16, x : x + 26] -= 110
            row |= {
                f"{side}_box": f"{x} {y} {x + 26} {y + 26}",
                f"{side}_label": "intracapsular" if broken else "no_fracture",
                f"{side}_reader_1": "fracture" if broken else "no_fracture",
                f"{side}_reader_2": "fracture",
                f"{side}_subclass_1": side if broken else "none",
                f"{side}_subclass_2": (side if broken else "none") if index % 4 else "",
            }
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / row["file"])
        rows.append(row)
    write(folder / "manifest.csv", rows)
    return folder / "manifest.csv"


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def trained(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "tiny"
    train(recipe(plan=PLAN | {"epochs": 8}), manifest, out)
    return out


def test_readers_and_another_hospital_stand_in_the_report(
    manifest: Path, trained: Path, tmp_path: Path
) -> None:
    found = evaluate(
        trained, manifest, tmp_path / "report", external=manifest, split="all",
        by=["risk", "label", "patient_id", "file"],
    )  # fmt: skip
    few = "groups have fewer than 10 samples and are not judged by themselves: "
    assert found.notes[0].startswith(f"patient_id: 40 of 40 {few}P0 (2), P1 (2), ")
    assert [note.partition(":")[0] for note in found.notes] == ["patient_id", "file"]
    assert found.notes[1] in (tmp_path / "report" / "report.md").read_text()
    values = {one.name: one.value for one in found.figures}
    assert values["samples, risk low"] + values["samples, risk moderate"] == 28 + 26
    assert values["accuracy, label intracapsular"] == values["recall, fracture"]
    with pytest.raises(ManifestInvalid, match="has no column weather"):
        evaluate(trained, manifest, tmp_path / "none", by=["weather"])
    assert values["accuracy, reader 1"] == 1.0
    assert values["accuracy, reader 2"] == 0.5
    assert values["kappa, readers 1 and 2"] == pytest.approx(0.0)
    assert values["kappa, readers 1 and 2, by subclass"] == pytest.approx(1.0), "one is silent"
    assert 0 <= values["p, model against reader 2"] <= 1
    apart = "p, the same as independent proportions, reader 2"
    assert values[apart] < 0.01, "who is right in all and who in half of 80"
    assert 0 <= values["p, readers 1 and 2 agree or not and the model is right or not"] <= 1
    assert {"specificity", "npv", "F1", "accuracy at doubtful_from, half fractured"} <= set(values)
    document = json.loads((tmp_path / "report" / "results.json").read_text())
    assert document["external"].keys() == document["figures"].keys()
    assert "| figure | here | external | the paper |" in (tmp_path / "report/report.md").read_text()
    assert "Counts, external:" in (tmp_path / "report" / "report.md").read_text()
    assert "NOT FOR CLINICAL USE" in (tmp_path / "report" / "model-card.md").read_text()
    assert (tmp_path / "report" / "external" / "roc.png").stat().st_size > 1000


def test_relabelling_finds_the_wrong_labels_and_takes_the_answers(
    manifest: Path, trained: Path, tmp_path: Path
) -> None:
    with manifest.open() as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    rows[4]["right_label"], rows[5]["right_label"] = "intracapsular", "no_fracture"  # both wrong
    wrong = manifest.with_name("wrong.csv")
    write(wrong, rows)
    found = doubts(trained, wrong, threshold=0.5)
    assert [(one.kind, one.item.row.line) for one in found][:1] == [("false positive", 7)]
    assert ("false negative", 6) in [(one.kind, one.item.row.line) for one in found]
    kinds = [one.kind for one in found]
    assert kinds == sorted(kinds, key=["false positive", "false negative"].index)
    curve = simulated(trained, manifest, 0.1, threshold=0.5)
    assert (curve[0].right, curve[-1].right) == (0.9, 1.0)  # eight of eighty, all found
    for share in (0.9, 0.001):
        with pytest.raises(ManifestInvalid, match="of 80 labels cannot be made wrong"):
            simulated(trained, manifest, share)
    with pytest.raises(ManifestInvalid, match="nothing for tiny in split nosuch"):
        doubts(trained, manifest, split="nosuch")
    write_worklist(tmp_path / "work.csv", found)
    with (tmp_path / "work.csv").open() as file:
        work: list[dict[str, Any]] = list(csv.DictReader(file))
    for line in work:
        line["answer"] = {"7": "intracapsular", "6": "no_fracture"}.get(line["line"], "")
    write(tmp_path / "work.csv", work)
    better = manifest.with_name("better.csv")
    assert take_answers(wrong, tmp_path / "work.csv", better) == (2, 0)
    assert [one.item.row.line for one in doubts(trained, better, threshold=0.5)] == [
        one.item.row.line for one in found if one.item.row.line not in {6, 7}
    ]
    work[0]["answer"] = "cat"
    write(tmp_path / "work.csv", work)
    with pytest.raises(ManifestInvalid, match="line 2: 'cat' is no label"):
        take_answers(wrong, tmp_path / "work.csv", better)
    with pytest.raises(ManifestInvalid, match="must lie beside"):
        take_answers(wrong, tmp_path / "work.csv", tmp_path / "new.csv")


CLINICAL: dict[str, Any] = {
    "role": "risk",
    "labels": ["low", "moderate", "high"],
    "positive_labels": ["high"],
    "covariates": ["vitamin_d"],
    "reweight": True,
    "keep": "accuracy",
    "network": {"name": "clinical_only", "arguments": {"covariates": 1}},
}


def test_cross_validation_of_a_risk_model(manifest: Path, tmp_path: Path) -> None:
    """DXA 2023: F1 micro and AUC a class, over folds that never share a patient."""
    chosen = recipe(**CLINICAL | {"plan": PLAN | {"epochs": 12, "learning_rate": 0.05}})
    chosen = chosen.model_copy(update={"name": "dxa2023-vit-s-dino-clinical"})
    text = cross_validate(chosen, manifest, tmp_path / "cv", folds=2)
    (line,) = [one for one in text.splitlines() if one.startswith("| F1, micro |")]
    assert line.endswith("| 0.626 (0.032) |"), "beside the paper's"
    document = json.loads((tmp_path / "cv" / "cross-validation.json").read_text())
    assert len(document["AUC, average"]) == 2
    assert min(document["AUC, average"]) > 0.9  # vitamin D tells all
    for name in ("F1, low", "AUC, high"):
        assert name in document


@pytest.mark.parametrize("method", ["dino", "moco"])
def test_backbone_learned_without_labels_is_taken_and_frozen(
    method: str, manifest: Path, tmp_path: Path
) -> None:
    network = {"name": "vit_small", "arguments": {"size_px": 32, "depth": 1, "hidden": 16}}
    pretraining = Pretraining.model_validate(
        {
            "name": "pre",
            "paper": "none",
            "system": method,
            "method": method,
            "network": network,
            "preprocessing": {"size_px": 32},
            "plan": PLAN | {"epochs": 2, "learning_rate": 1e-3, "ema": 0},
            "augmentation": CALM,
            "settings": {
                "queue": 32,
                "prototypes": 16,
                "hidden": 32,
                "local_views": 2,
                "local_px": 16,
            },
        }
    )
    weights = pretrain(pretraining, manifest, tmp_path / "pre")
    learned = load_file(weights)
    assert learned
    half = tmp_path / "half.safetensors"
    half.write_bytes(weights.read_bytes()[:-100])
    assert [is_whole(path) for path in (weights, half, tmp_path / "none")] == [True, False, False]
    assert not any(name.startswith("score.") for name in learned)
    rows = json.loads((tmp_path / "pre" / "history.json").read_text())
    assert all(np.isfinite(row["loss"]) and row["spread"] > 1e-3 for row in rows)
    chosen = recipe(
        **CLINICAL
        | {
            "covariates": [],
            "network": network | {"arguments": network["arguments"] | {"classes": 3}},
        },
        freeze_backbone=True,
        outputs=["logits", "embedding"],
    )
    none = Samples(np.zeros((1, 8, 8), np.uint8), np.zeros(1, np.int64), np.ones(1))
    model = train(chosen, manifest, tmp_path / "risk", weights=weights)
    kept = load_file(model.path / "models" / "model.safetensors")
    for name, tensor in learned.items():
        assert torch.allclose(kept[name].float(), tensor.float(), atol=2e-3), name
    with pytest.raises(RecipeInvalid, match="cannot be read as safetensors"):
        train(chosen, manifest, tmp_path / "none", weights=manifest)
    unchanged = chosen.model_copy(update={"augmentation": Augmentation()})
    assert head_alone(unchanged, start(unchanged, none, weights)[0])
    assert not head_alone(chosen, start(chosen, none, weights)[0]), "it sees images that change"
    for seed in (0, 1):
        plan = unchanged.plan.model_copy(update={"seed": seed})
        other = unchanged.model_copy(update={"plan": plan})
        train(other, manifest, tmp_path / "head", weights=weights, cache=tmp_path / "kept")
        kept = [path.name for path in (tmp_path / "kept").iterdir()]
        assert sum(name.startswith("embeddings-") for name in kept) == 2, "train and val, once"
    rows = json.loads((tmp_path / "head.run" / "history.json").read_text())
    best = max(rows, key=lambda row: (row["score"], row["epoch"]))
    found = evaluate(tmp_path / "head", manifest, tmp_path / "report", split="val")
    values = {one.name: one.value for one in found.figures}
    assert values["accuracy"] == pytest.approx(best["accuracy"])


def test_box_by_regression_for_each_half(manifest: Path, tmp_path: Path) -> None:
    """Gale 2017, CNN-bounding."""
    chosen = recipe(
        role="localiser",
        labels=["hip"],
        positive_labels=["hip"],
        outputs=["box"],
        balance=False,
        network={"name": "gale_template", "arguments": TEMPLATE | {"outputs": 4}},
        plan=PLAN | {"epochs": 30, "learning_rate": 0.01},
        augmentation=CALM | {"shift": 0.02, "scale": 0, "aspect": 0, "shear": 0},
    )
    train(chosen, manifest, tmp_path / "bounding")
    found = evaluate(tmp_path / "bounding", manifest, tmp_path / "report")
    values = {one.name: one.value for one in found.figures}
    assert values["mean Jaccard"] > 0.55
    assert values["Jaccard above 0.5"] > 0.7
    assert (tmp_path / "report" / "jaccard.png").stat().st_size > 1000
    for more in ({"by": ["sex"]}, {"maps": 1}):
        with pytest.raises(InputRefused, match="as a whole"):
            evaluate(tmp_path / "bounding", manifest, tmp_path / "report", **more)


def test_evaluation_writes_example_maps(manifest: Path, tmp_path: Path) -> None:
    chosen = recipe(
        network={"name": "googlenet", "arguments": {"classes": 2, "width": 0.125}},
        preprocessing={"size_px": 64},
        outputs=["logits", "cam"],
        plan=PLAN | {"epochs": 1},
    )
    train(chosen, manifest, tmp_path / "cnn")
    evaluate(tmp_path / "cnn", manifest, tmp_path / "report", maps=2)
    assert len(list((tmp_path / "report" / "maps").glob("*.png"))) == 2


def test_two_processes_train_one_network(manifest: Path, tmp_path: Path) -> None:
    """``torchrun`` with gloo on a CPU: one bundle, written once, that loads."""
    text = [
        *(f'{key} = "{value}"' for key, value in (
            ("name", "tiny"), ("paper", "none"), ("system", "tiny"), ("role", "fracture"),
            ("card", "A test. NOT FOR CLINICAL USE."),
        )),
        'labels = ["no_fracture", "fracture"]',
        'positive_labels = ["fracture"]',
        'outputs = ["logits"]',
        "[network]",
        'name = "gale_template"',
        "arguments = { depth = 3, width = 8, head_px = 4, outputs = 2 }",
        "[preprocessing]",
        "size_px = 32",
        "[plan]",
        "epochs = 2",
        "batch = 8",
        "bf16 = false",
    ]  # fmt: skip
    (tmp_path / "tiny.toml").write_text("\n".join(text))
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            "-m", "hipnode", "train", str(tmp_path / "tiny.toml"),
            "--data", str(manifest), "--out", str(tmp_path / "both"),
        ],
        capture_output=True, text=True, check=False, timeout=280,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(json.loads((tmp_path / "both.run" / "history.json").read_text())) == 2
    digest = load_bundle(tmp_path / "both").spec.digest
    assert done.stdout.count(digest) == 2  # both processes name the same bundle


def test_changes_to_a_recipe() -> None:
    chosen = read_recipe("murphy2022-cnn2", ["plan.batch=4", "plan.optimiser=sgd", "balance=false"])
    assert isinstance(chosen, Recipe)
    assert (chosen.plan.batch, chosen.plan.optimiser, chosen.balance) == (4, "sgd", False)
    with pytest.raises(RecipeInvalid, match=r"plan\.batches"):
        read_recipe("murphy2022-cnn2", ["plan.batches=4"])


def test_location_loss_and_class_weights() -> None:
    samples = Samples(
        np.zeros((4, 8, 8), np.uint16),
        np.array([[0, 0], [1, 1], [1, 2], [1, -1]]),
        np.ones(4),
    )
    chosen = recipe(reweight=True, location_loss=1.0)
    assert class_weights(samples, 2).tolist() == pytest.approx([2.0, 2 / 3])
    loss = objective(chosen, samples)
    targets = torch.from_numpy(samples.targets)
    logits = torch.zeros(4, 2)
    right = torch.eye(3)[[0, 1, 2, 0]] * 9
    wrong = torch.eye(3)[[1, 2, 0, 0]] * 9
    good = loss({"logits": logits, "location": right}, targets)
    bad = loss({"logits": logits, "location": wrong}, targets)
    assert bad > good + 5  # only the place differs, and the unknown place does not count
    masks = torch.zeros(2, 1, 10, 10)
    masks[0, 0, 2:5, 3:9] = 1
    assert extents(masks)[0].tolist() == pytest.approx([0.3, 0.2, 0.9, 0.5])
    assert extents(masks)[1].tolist() == pytest.approx([0.5] * 4)
