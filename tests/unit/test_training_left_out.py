"""Patients left out, views, frames of the gate, how often a row is drawn, older weights."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("monai")
pytest.importorskip("onnx")
pytest.importorskip("sklearn")
pytest.importorskip("statsmodels")

import torch

from hipnode.errors import InputRefused, ManifestInvalid
from hipnode.nets import load_bundle
from hipnode.nets.architectures import build
from hipnode.training.judge.evaluate import evaluate
from hipnode.training.learn.speed import NOTE, settled
from hipnode.training.learn.weights import start_from
from hipnode.training.pack.bundling import at_even_odds
from hipnode.training.recipe.plan import Plan
from hipnode.training.recipe.recipe import Recipe, read_recipe
from hipnode.training.runs.leaveout import LeftOut, calibration, divide, leave_out, threshold
from hipnode.training.runs.train import train
from hipnode.training.samples.batches import Samples
from hipnode.training.samples.gather import gather
from hipnode.training.samples.items import items
from hipnode.training.samples.manifest import read_manifest

pytestmark = pytest.mark.slow
HEADER = ["file", "patient_id", "split", "domain", "often", "view", "draw"]
HIP = ["right_box", "right_label", "left_box", "left_label"]
POINTS = "head:1,1 neck_base:2,2 greater_trochanter:3,1 lesser_trochanter:2,4 shaft_near:2,5"
LABELS = ("no_fracture", "trochanteric", "intracapsular", "subtrochanteric")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve real pelves and eight phantoms; every third has a bright bar on the right: broken."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    rows = []
    for index in range(20):
        broken, real = index % 3 == 0, index < 12
        pixels = rng.normal(90, 12, (64, 128))
        if broken:
            pixels[28:34, 8:50] += 120
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{index}.png")
        split = "val" if index in {1, 3, 17, 18} else "test" if index % 5 == 0 else "train"
        label = LABELS[1 + index // 3 % 3] if broken else "no_fracture"
        view = "lateral" if index == 2 else "one_hip" if index == 4 else "frontal"
        rows.append(
            [
                f"{index}.png",
                f"P{index}",
                split,
                "real" if real else "",
                "3" if index == 2 else "",
                view,
                "1",
                "4 4 60 60",
                label,
                "68 4 124 60",
                "no_fracture",
            ]
        )
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([[*HEADER, *HIP], *[[*row[:6], "", *row[7:]] for row in rows]])
    with (folder / "gate.csv").open("w", newline="") as file:
        points = ["right_landmarks", "left_landmarks"]
        csv.writer(file).writerows([[*HEADER, "right_box", "left_box", *points]])
        csv.writer(file).writerows([[*row[:7], row[7], row[9], POINTS, POINTS] for row in rows])
    return folder / "manifest.csv"


def tiny(**changes: object) -> Recipe:
    document = {
        "name": "tiny",
        "paper": "none",
        "system": "tiny",
        "role": "fracture",
        "card": "A test. NOT FOR CLINICAL USE.",
        "labels": LABELS,
        "positive_labels": LABELS[1:],
        "outputs": ["logits"],
        "balance": False,
        "keep": "last",
        "views": ["frontal", "one_hip", "lateral"],
        "network": {
            "name": "gale_template",
            "arguments": {"depth": 4, "width": 8, "head_px": 2, "outputs": 4},
        },
        "preprocessing": {"size_px": 32},
        "plan": {"epochs": 2, "batch": 10, "learning_rate": 0.02, "bf16": False, "view": 0.8},
        "augmentation": {"rotate_deg": 5, "invert": 0, "curve": 0.2, "blur_px": 0},
    }
    return Recipe.model_validate(document | changes)


def test_each_patient_is_judged_once_by_a_network_that_had_not_seen_him(
    manifest: Path, tmp_path: Path
) -> None:
    recipe = tiny(network={"name": "gale_template", "arguments": {
        "depth": 4, "width": 8, "head_px": 2, "outputs": 3}},
        labels=LABELS[:3], positive_labels=LABELS[1:3],
    )  # fmt: skip
    said = leave_out(recipe, manifest, tmp_path / "out", folds=2)
    assert load_bundle(tmp_path / "out" / "fold-0").spec.temperature == 1  # so that one is told
    with (tmp_path / "out" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    # the subtrochanteric one has no class here, and real ones alone are left out
    assert sorted((int(row["patient_id"][1:]), row["side"]) for row in rows) == sorted(
        (index, side) for index in range(12) for side in "RL" if (index, side) != (6, "R")
    )
    assert "AUC against negatives, other views" in said
    assert "of patients with a positive" in said


def test_folds_share_no_patient_and_deal_out_the_broken_first(manifest: Path) -> None:
    rows = read_manifest(manifest)
    held_before: set[str] = set()
    for learned, held in divide(tiny(), rows, 4, "real"):
        patients = {row.patient for row in held}
        assert not patients & {row.patient for row in learned}
        assert not patients & held_before
        broken = [p for p in patients if int(p[1:]) % 3 == 0]
        assert len(broken) == 1
        held_before |= patients
    assert held_before == {f"P{index}" for index in range(12)}
    with pytest.raises(ManifestInvalid, match="4 patients with a positive are too few"):
        next(divide(tiny(), rows, 5, "real"))


def test_the_threshold_keeps_the_rate_of_false_alarms(manifest: Path) -> None:
    rows = [row for row in read_manifest(manifest) if row.domain == "real"]
    chosen = tuple(items(tiny(), rows, ("frontal", "one_hip"))[0])
    positive = np.array([item.target > 0 for item in chosen])
    p = np.where(positive, 0.9, np.linspace(0.1, 0.5, len(chosen)))
    found = LeftOut(chosen, p, p * np.nan, positive)
    for rate in (0.0, 0.2, 0.5):
        level = threshold(found, rate)
        alarms = {
            item.row.file
            for item, value in zip(chosen, p, strict=True)
            if value >= level and item.row.view == "frontal"
        } - {item.row.file for item, yes in zip(chosen, positive, strict=True) if yes}
        whole = {item.row.file for item in chosen if item.row.view == "frontal"} - {
            item.row.file for item, yes in zip(chosen, positive, strict=True) if yes
        }
        assert len(alarms) == int(rate * len(whole))


def test_calibration_finds_the_temperature_and_the_prior() -> None:
    rng = np.random.default_rng(0)
    yes = rng.random(20_000) < 0.5
    z = np.where(yes, 1.0, -1.0) * 2 + rng.normal(0, 2, len(yes))  # its log odds ratio is z
    said = 1 / (1 + np.exp(-(2 * z - 3)))
    temperature, prior = calibration(LeftOut((), said, said, yes))
    assert temperature == pytest.approx(2, rel=0.05)
    assert np.log(prior / (1 - prior)) == pytest.approx(-1.5, abs=0.1)


def test_a_bundle_with_a_known_prior_speaks_at_even_odds() -> None:
    """What `calibration` finds of patients left out is what a recipe takes over."""
    network = {"name": "googlenet", "arguments": {"classes": 4, "width": 0.125}}
    recipe = tiny(network=network, operating_point={"temperature": 0.5, "prior": 0.2})
    net = build("googlenet", {"classes": 4, "width": 0.125}).eval()
    image = torch.rand(1, 1, 64, 64)

    def log_odds() -> float:
        p = torch.softmax(net(image)["logits"] / 0.5, 1)[0].detach().numpy().astype(float)
        return float(np.log((1 - p[0]) / p[0]))

    before = log_odds()
    at_even_odds(recipe, net)
    assert log_odds() == pytest.approx(before + np.log(4), abs=1e-4)
    with pytest.raises(InputRefused, match="needs the temperature"):
        at_even_odds(tiny(network=network, operating_point={"prior": 0.2}), net)


def test_a_row_is_drawn_as_often_as_it_says(manifest: Path, tmp_path: Path) -> None:
    recipe = tiny(domain_shares={"real": 0.8})
    split = gather(recipe, read_manifest(manifest), "train", tmp_path)
    weights = split.samples.weights
    of = {item.row.file.name: weight for item, weight in zip(split.items, weights, strict=True)}
    assert of["2.png"] == pytest.approx(3 * of["7.png"])
    real = sum(w for item, w in zip(split.items, weights, strict=True) if item.row.domain)
    assert real / weights.sum() == pytest.approx(0.8)


def test_views_that_a_recipe_does_not_ask_for_are_named(manifest: Path) -> None:
    rows = read_manifest(manifest)
    _, left_out = items(tiny(), rows, ("frontal",))
    assert left_out == {"the view lateral": 1, "the view one_hip": 1}


def test_the_gate_of_views_sees_other_frames(manifest: Path, tmp_path: Path) -> None:
    recipe = read_recipe("gale2017-cnn-views", ["plan.epochs=1", "plan.epoch_images=64"])
    assert isinstance(recipe, Recipe)
    rows = [
        replace(row, frames=2) if row.view == "lateral" else row
        for row in read_manifest(manifest.with_name("gate.csv"))
    ]
    split = gather(recipe, rows, "train", tmp_path)
    seen: dict[str, set[str]] = {}
    for item in split.items:
        kind = item.drawn.kind if item.drawn else "whole"
        seen.setdefault(f"{item.row.view} {kind}", set()).add(recipe.labels[item.target])
    assert seen["frontal whole"] == seen["frontal collimated"] == {"pelvis_ap"}
    assert seen["one_hip whole"] == seen["frontal one_hip"] == {"hip_ap"}
    assert seen["lateral whole"] == seen["lateral one_hip"] == {"hip_other"}
    assert seen["lateral turned"] == seen["frontal turned"] == {"other"}
    assert seen["frontal one_hip_turned"] == seen["one_hip turned"] == {"other"}
    again = gather(recipe, rows, "train", tmp_path / "2")
    assert np.array_equal(split.samples.images, again.samples.images)


def test_older_weights_are_taken_by_label(manifest: Path, tmp_path: Path) -> None:
    def of(labels: tuple[str, ...]) -> Recipe:
        return tiny(
            labels=labels, positive_labels=labels[1:], outputs=["logits", "cam", "embedding"],
            network={"name": "googlenet", "arguments": {"classes": len(labels), "width": 0.125}},
        )  # fmt: skip

    older = of((LABELS[0], LABELS[2], LABELS[1]))
    train(older, manifest, tmp_path / "older")
    torch.manual_seed(1)
    net = build("googlenet", {"classes": 4, "width": 0.125})
    fresh = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    taken = start_from(net, "googlenet", tmp_path / "older", LABELS)
    heads = [name for name in taken.names if name.startswith("score.")]
    assert len(heads) == 2
    torch.manual_seed(1)
    three = build("googlenet", {"classes": 3, "width": 0.125})
    start_from(three, "googlenet", tmp_path / "older", older.labels)
    for name in heads:
        ours, theirs = net.state_dict()[name], three.state_dict()[name]
        assert torch.equal(ours[:3], theirs[[0, 2, 1]])
        assert torch.equal(ours[3], fresh[name][3])


def test_what_is_frozen_stays_as_it_was(manifest: Path, tmp_path: Path) -> None:
    recipe = tiny(
        outputs=["logits", "cam", "embedding"],
        network={"name": "googlenet", "arguments": {"classes": 4, "width": 0.125}},
    )
    train(recipe, manifest, tmp_path / "first")
    plan = recipe.plan.model_copy(update={"fixed_norm": True})
    tuned = recipe.model_copy(update={"frozen": ("stem.", "blocks.3"), "plan": plan})
    train(tuned, manifest, tmp_path / "second", weights=tmp_path / "first")
    nets = []
    for name in ("first", "second"):
        net = build("googlenet", {"classes": 4, "width": 0.125})
        start_from(net, "googlenet", tmp_path / name)
        nets.append(net.state_dict())
    same = {name for name in nets[0] if torch.equal(nets[0][name], nets[1][name])}
    assert {name for name in nets[0] if name.startswith(("stem.", "blocks.3"))} <= same
    assert {name for name in nets[0] if "running_mean" in name} <= same
    assert "score.linear.weight" not in same or len(same) < len(nets[0])


def test_every_fracture_counts_when_a_bundle_is_judged(manifest: Path, tmp_path: Path) -> None:
    labels = LABELS[:3]  # no subtrochanteric one
    recipe = tiny(labels=labels, positive_labels=labels[1:], network={
        "name": "gale_template", "arguments": {"depth": 4, "width": 8, "head_px": 2, "outputs": 3},
    })  # fmt: skip
    train(recipe, manifest, tmp_path / "bundle")
    views = ("frontal", "one_hip", "lateral")
    found = evaluate(tmp_path / "bundle", manifest, tmp_path / "report", split="all", views=views)
    assert (found.count, found.left_out) == (40, {})
    with (tmp_path / "report" / "predictions.csv").open() as file:
        actual = [row["actual"] for row in csv.DictReader(file)]
    assert len(actual) - actual.count("no_fracture") == 7


def test_the_quicker_arithmetic_is_taken_and_remembered(tmp_path: Path) -> None:
    net = torch.nn.Linear(1, 1)
    samples = Samples(np.zeros((8, 8, 8), np.uint16), np.zeros(8, np.int64), np.ones(8, np.float64))
    plan = Plan(batch=8)

    def lesson(plan: Plan):  # type: ignore[no-untyped-def]
        def teach(model, batch, generator, device):  # type: ignore[no-untyped-def]
            if plan.bf16 is slow:
                torch.randn(700, 700) @ torch.randn(700, 700)
                torch.linalg.svd(torch.randn(300, 300))
            return model(batch.images[:, 0, 0, :1]).sum()

        return teach

    for slow in (True, False):
        folder = tmp_path / str(slow)
        folder.mkdir()
        assert settled(plan, lesson, net, samples, "cpu", folder).bf16 is not slow
        (folder / NOTE).write_text("bf16" if slow else "float32")
        assert settled(plan, lesson, net, samples, "cpu", folder).bf16 is slow
    fixed = plan.model_copy(update={"bf16": True})
    assert settled(fixed, lesson, net, samples, "cpu", tmp_path).bf16 is True


def test_who_is_left_out_is_left_out_of_every_domain(manifest: Path, tmp_path: Path) -> None:
    """A patient's hip and the same patient's knee may be of two domains."""
    rows = read_manifest([manifest], seed=0)
    real = next(row for row in rows if row.domain == "real" and row.split == "train")
    other = next(row for row in rows if row.domain != "real")
    rows = [replace(row, patient=real.patient) if row is other else row for row in rows]
    for learned, held in divide(read_recipe("murphy2022-cnn2"), rows, 3, "real"):
        people = {row.patient for row in held}
        assert people.isdisjoint(row.patient for row in learned)
        assert all(row.domain == "real" for row in held)
