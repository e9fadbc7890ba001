"""Images stored mirrored teach and test a network exactly what they would stored the usual way."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("monai")

from hipnode import nets
from hipnode.phantom import Made, load_recipe, render, write_dicom, write_manifest
from hipnode.training.judge.evaluate import predict
from hipnode.training.samples.gather import gather
from hipnode.training.samples.items import items
from hipnode.training.samples.manifest import read_image, read_manifest
from tests.unit.test_training import tiny

COLUMNS = ["file", "patient_id", "split", "mirrored", "right_box", "right_label", "left_box"]
COLUMNS += ["left_label", "draw", "right_landmarks", "left_landmarks"]


def cells(name: str, *, mirrored: bool) -> list[str]:
    def box(x0: int, x1: int) -> str:
        return f"{160 - x1} 20 {160 - x0} 80" if mirrored else f"{x0} 20 {x1} 80"

    def points(at: int) -> str:
        x = 160 - at if mirrored else at
        names = ("head", "neck_base", "greater_trochanter", "lesser_trochanter", "shaft_near")
        return " ".join(f"{n}:{x},{y}" for n, y in zip(names, (30, 40, 38, 60, 75), strict=True))

    flag = "1" if mirrored else "0"
    labels = ("no_fracture", "intracapsular")
    return [
        name, "P1", "train", flag, box(10, 60), labels[0], box(100, 156), labels[1],
        "1", points(30), points(128),
    ]  # fmt: skip


@pytest.fixture
def manifests(tmp_path: Path) -> tuple[Path, Path]:
    pixels = (np.random.default_rng(3).random((100, 160)) * 255).astype(np.uint8)
    made = []
    for mirrored in (False, True):
        folder = tmp_path / str(mirrored)
        folder.mkdir()
        Image.fromarray(pixels[:, ::-1] if mirrored else pixels).save(folder / "a.png")
        with (folder / "manifest.csv").open("w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, cells("a.png", mirrored=mirrored)])
        made.append(folder / "manifest.csv")
    return made[0], made[1]


PLAIN = {"size_px": 32, "flip_left_to_right": True}
BOXES = {"labels": ["hip"], "positive_labels": ["hip"], "plan": {"bf16": False}}
RECIPES = {
    "fracture": tiny(preprocessing=PLAIN),
    "metal": tiny(role="metal", preprocessing=PLAIN),
    "mask": tiny(role="localiser", outputs=["mask"], **BOXES),
    "halves": tiny(role="localiser", outputs=["box"], **BOXES),
    "gate": tiny(role="gate"),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_mirrored_image_teaches_the_same(
    manifests: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    plain, other = (
        gather(RECIPES[name], read_manifest(path), "train", tmp_path / str(n)).samples
        for n, path in enumerate(manifests)
    )
    assert len(plain) >= 1
    assert np.array_equal(plain.images, other.images)
    assert np.array_equal(plain.targets, other.targets)


def test_a_mirrored_phantom_is_judged_as_its_mirror_image(tmp_path: Path) -> None:
    recipe = replace(load_recipe("demo"), p_mirrored=0.0, p_implant_hip=0.0)
    model = nets.load_model_set("default", device="cpu", threads=1).fracture
    found = []
    for mirrored in (0.0, 1.0):
        made = render(replace(recipe, p_mirrored=mirrored), 3, 1, size_px=640)
        name = f"{mirrored}.dcm"
        write_dicom(made, tmp_path / name)
        manifest = tmp_path / f"{mirrored}.csv"
        write_manifest(manifest, [Made(name, made.truth, "")])
        (row,) = read_manifest(manifest)
        assert row.mirrored is bool(mirrored)
        chosen, _ = items(model.spec, [row])
        found.append((read_image(row).pixels, [predict(model, item) for item in chosen]))
    (plain, one), (other, two) = found
    assert np.array_equal(plain, other)
    assert len(one) == 2
    assert np.allclose(one, two, atol=0.03)  # boxes are rounded outwards, each in its own image
