"""What recipes and manifests can ask for: steps, several manifests, drawings, bundles."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("monai")
pytest.importorskip("onnx")
pytest.importorskip("mapie")

import torch

from hipnode.errors import ManifestInvalid
from hipnode.nets import load_bundle
from hipnode.nets.architectures import build
from hipnode.training.judge.evaluate import evaluate
from hipnode.training.recipe.recipe import Recipe, RecipeInvalid, read_recipe
from hipnode.training.runs.train import start, train
from hipnode.training.samples.gather import gather
from hipnode.training.samples.manifest import read_manifest
from tests.untrained import bundle

pytestmark = pytest.mark.slow

POINTS = (
    "head:40,30 neck_base:28,42 greater_trochanter:22,30 lesser_trochanter:34,52 shaft_near:26,60"
)
MIRRORED = (
    "head:100,30 neck_base:112,42 greater_trochanter:118,30 lesser_trochanter:106,52 "
    "shaft_near:114,60"
)
LITTLE = ["plan.epochs=1", "plan.batch=4", "plan.bf16=false", "preprocessing.size_px=32"]


def hips(name: str, changes: list[str]) -> Recipe:
    recipe = read_recipe(name, [*LITTLE, *changes])
    assert isinstance(recipe, Recipe)
    return recipe


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Eight simulated pelves, every second one fractured, and four real ones, all whole."""
    rng = np.random.default_rng(0)
    found = []
    for domain, count in (("", 8), ("real", 4)):
        folder = tmp_path_factory.mktemp(domain or "simulated")
        rows: list[dict[str, Any]] = []
        for index in range(count):
            pixels = rng.integers(60, 180, (80, 140)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
            broken = not domain and index % 2
            rows.append(
                {
                    "file": f"{index}.png",
                    "patient_id": f"{domain}{index}",
                    "split": "val" if index % 4 > 1 else "train",
                    "view": "frontal",
                    "right_box": "10 10 60 74",
                    "left_box": "80 10 130 74",
                    "right_label": "trochanteric" if broken else "no_fracture",
                    "left_label": "no_fracture",
                    "right_landmarks": POINTS,
                    "left_landmarks": MIRRORED,
                    "domain": domain,
                    "draw": 2 if domain else "",
                }
            )
        found.append(folder / "manifest.csv")
        with found[-1].open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return found


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("gale2017-cnn-frontal", 2_408),
        ("gale2017-cnn-metal", 11_792),
        ("gale2017-cnn-bounding", 746_624),
        ("gale2017-fcn", 4_722_944),
        ("gale2017-densenet172", 1_434_176),
    ],
)
def test_recipes_of_gale_have_the_printed_parameters(name: str, printed: int) -> None:
    recipe = read_recipe(name)
    with torch.device("meta"):
        net = build(recipe.network.name, dict(recipe.network.arguments))
    assert sum(p.numel() for p in net.parameters()) == printed
    assert f"{printed:,}" in recipe.system


@pytest.mark.parametrize(
    ("name", "changes", "size"),
    [
        ("dxa2023-clinical", [], 32),
        ("dxa2023-resnet50", ["network.arguments.depth=18"], 64),
        ("dxa2023-vit-s", ["network.arguments={classes=3,size_px=64,depth=1}"], 64),
        ("gale2017-fcn", ["network.arguments={depth=4,width=8,head_px=2,outputs=2}"], 32),
        ("jang2022-vgg16", [], 64),
        ("yamamoto2020-efficientnet-b3-clinical", ['network.arguments.size="b0"'], 64),
    ],
)
def test_every_network_becomes_a_bundle_that_loads(
    name: str, changes: list[str], size: int, tmp_path: Path
) -> None:
    """``load_bundle`` runs the graph on the golden input: the two agree, or it is refused."""
    recipe = hips(name, [*changes, f"preprocessing.size_px={size}"])
    bundle(recipe, tmp_path / "made")
    assert load_bundle(tmp_path / "made").spec.name == recipe.name


def test_cnn1_is_trained_on_unfractured_hips_and_then_on_fractured_ones(
    manifests: list[Path], tmp_path: Path
) -> None:
    """Murphy 2022, Methods: "first trained CNN1 on non-fractured hips ... and then fine-tuned"."""
    small = ["network.arguments={features=[4,4,4,4,4,4]}"]
    first = hips("murphy2022-cnn1-unfractured", small)
    second = hips("murphy2022-cnn1-fractured", small)
    with pytest.raises(RecipeInvalid, match="goes on from other weights"):
        train(second, manifests[0], tmp_path / "alone")
    rows = read_manifest(manifests[0])
    seen = {recipe.name: gather(recipe, rows, "train", tmp_path) for recipe in (first, second)}
    broken = {
        name: {any(h.label != "no_fracture" for h in item.row.hips) for item in split.items}
        for name, split in seen.items()
    }
    assert broken == {first.name: {False}, second.name: {True}}
    train(first, manifests[0], tmp_path / "first")
    given = load_bundle(tmp_path / "first")
    net, _ = start(second, seen[second.name].samples, tmp_path / "first")
    image = np.random.default_rng(0).normal(size=(1, 1, 32, 32)).astype(np.float32)
    with torch.inference_mode():
        mask = net.eval()(torch.from_numpy(image))["mask"].numpy()
    assert np.allclose(mask, given.engine.run(image)["mask"], atol=2e-3)
    train(second, manifests[0], tmp_path / "second", weights=tmp_path / "first")
    assert evaluate(tmp_path / "second", manifests[0], tmp_path / "report", split="val").count == 4


def test_real_hips_stand_in_every_class_with_fractures_drawn_in(
    manifests: list[Path], tmp_path: Path
) -> None:
    recipe = hips("murphy2022-cnn2", ["domain_shares.real=0.25"])
    split = gather(recipe, read_manifest(manifests), "train", tmp_path)
    by_domain: dict[str, list[int]] = {"": [0, 0, 0], "real": [0, 0, 0]}
    chances: dict[str, float] = {"": 0, "real": 0}
    for item, weight in zip(split.items, split.samples.weights, strict=True):
        by_domain[item.row.domain][item.target] += 1
        chances[item.row.domain] += weight
    assert by_domain == {"": [6, 2, 0], "real": [4, 8, 8]}
    assert chances == pytest.approx({"": 0.75, "real": 0.25})
    own: dict[tuple[Path, object], list[int]] = {}
    for index, item in enumerate(split.items):
        if item.row.domain and item.hip:
            own.setdefault((item.row.file, item.hip.side), []).append(index)
    for same in own.values():
        pictures = [split.samples.images[index].astype(float) for index in same]
        whole, drawn = pictures[0], pictures[1:]
        assert len(drawn) == 4
        assert min(np.abs(one - whole).mean() for one in drawn) > 100
    again = gather(recipe, read_manifest(manifests), "train", tmp_path / "again")
    assert np.array_equal(again.samples.images, split.samples.images)


def test_the_gates_get_metal_and_turned_images(manifests: list[Path], tmp_path: Path) -> None:
    rows = read_manifest(manifests[1])
    metal = gather(
        hips("gale2017-cnn-metal", ["preprocessing.size_px=64"]), rows, "train", tmp_path
    )
    kinds = [(item.drawn.kind if item.drawn else "", item.target) for item in metal.items]
    assert {kind: sum(one == kind for one in kinds) for kind in sorted(set(kinds))} == {
        ("", 0): 4, ("implant", 1): 8, ("intracapsular", 0): 8, ("trochanteric", 0): 8,
    }  # fmt: skip
    gate = gather(hips("gale2017-cnn-frontal", []), rows, "train", tmp_path)
    assert [item.target for item in gate.items] == [1, 0, 0, 0] * 2
    upright, *turned = gate.samples.images[:4]
    for quarter, image in enumerate(turned, 1):
        agree = np.corrcoef(np.rot90(upright, quarter).ravel(), image.ravel())[0, 1]
        assert agree > 0.95
    turned_before = [dataclasses.replace(row, turned=True) for row in rows]
    gate = gather(hips("gale2017-cnn-frontal", []), turned_before, "train", tmp_path)
    assert [item.target for item in gate.items] == [0, 0]  # a turn might put one upright


def test_errors_of_several_manifests_name_theirs(manifests: list[Path], tmp_path: Path) -> None:
    with manifests[1].open() as file:
        rows = list(csv.DictReader(file))

    def changed(**cells: str) -> Path:
        path = manifests[1].with_name("changed.csv")
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows([rows[0] | cells])
        return path

    with pytest.raises(ManifestInvalid, match=r"changed.csv, line 2: patient '2'.*manifest.csv"):
        read_manifest([manifests[0], changed(patient_id="2")])
    with pytest.raises(ManifestInvalid, match=r"changed.csv, line 2: draw is 'two'"):
        read_manifest(changed(draw="two"))
    with pytest.raises(ManifestInvalid, match=r"line 2: to draw, right_landmarks must have"):
        read_manifest(changed(right_landmarks="head:1,2"))
