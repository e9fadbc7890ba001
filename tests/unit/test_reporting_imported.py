"""A bundle from elsewhere: which of its labels say yes travels from its metadata to the words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hipnode.domain import Box, Decision, HipReading, HipROI, Side
from hipnode.nets import LoadedModel
from hipnode.nets.architectures import build
from hipnode.nets.load.archive import export_bundle, import_bundle
from hipnode.reading import classify
from hipnode.reporting import plain_text
from hipnode.reporting.languages import ENGLISH
from hipnode.reporting.strips import said_of
from hipnode.training.pack.bundling import described
from hipnode.training.pack.export import write_bundle
from hipnode.training.recipe.recipe import Recipe, read_recipe
from tests import cases, factory
from tests.factory import reading

LABELS = (("healthy", "fracture"), ("fracture", "healthy"))


def _imported(folder: Path, labels: tuple[str, str], positive: str) -> LoadedModel:
    """Return a bundle of two classes, exported elsewhere and imported here."""
    recipe = read_recipe("gale2017-cnn-metal")  # a small network of two classes
    assert isinstance(recipe, Recipe)
    torch.manual_seed(0)
    net = build(recipe.network.name, dict(recipe.network.arguments)).eval()
    block = described(recipe, "0.1.0", "nothing") | {
        "role": "fracture",
        "labels": list(labels),
        "positive_labels": [positive],
        "temperature": 1.0,
        "class_thresholds": {},
        "operating_point": {"name": "x", "doubtful_from": 0.4, "present_from": 0.9,
                            "chosen_on": "fixed"},
    }  # fmt: skip
    size = recipe.preprocess.size_px
    golden = np.random.default_rng(0).normal(size=(1, 1, size, size)).astype(np.float32)
    write_bundle(folder / "made", block, net, golden, "card", None)
    export_bundle(folder / "made", folder / "made.zip")
    return import_bundle(folder / "made.zip", folder / "shelf")


@pytest.mark.parametrize("labels", LABELS)
def test_the_labels_of_an_imported_bundle_mean_what_it_says(
    tmp_path: Path, labels: tuple[str, str]
) -> None:
    """Never "fracture likely, type healthy", in whatever order the labels stand."""
    model = _imported(tmp_path, labels, "fracture")
    at = labels.index("fracture")
    p = np.array([[0.03, 0.03], [0.98, 0.98]], np.float32)
    p[0, at], p[1, at] = 0.97, 0.02
    scores = classify.Scores(p, p[:, at], None)
    hips = []
    for row, (side, box) in enumerate(
        ((Side.RIGHT, factory.RIGHT_BOX), (Side.LEFT, factory.LEFT_BOX))
    ):
        roi = HipROI(side, Box(box.x0, box.y0, box.x1, box.y1), 0.9)
        hips.append(HipReading(roi, (classify.finding(model, scores, row, roi),)))
    assert [hip.findings[0].decision for hip in hips] == [Decision.PRESENT, Decision.ABSENT]
    assert hips[0].findings[0].positive == ("fracture",)
    text = plain_text(cases.request(cases.source("1", reading(hips))))
    assert text.startswith("LOOK NOW. RIGHT hip: FRACTURE LIKELY. LEFT hip: no fracture seen")
    assert "healthy" not in text
    assert "Type" not in text
    assert [said.what for hip in hips for said in said_of(hip, ENGLISH)] == [
        "R: FRACTURE LIKELY", "L: no fracture seen",
    ]  # fmt: skip
