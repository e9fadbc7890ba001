"""Heat maps learn where to point, from the places of fractures that a manifest tells."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("monai")

import torch

from hipnode.domain import Box, Side
from hipnode.training.learn.losses import pointing
from hipnode.training.recipe.recipe import Recipe, read_recipe
from hipnode.training.samples.drawn.plan import Drawing
from hipnode.training.samples.items import Item
from hipnode.training.samples.manifest import HipRow, Row
from hipnode.training.samples.spots import blurred, spots

BOX = Box(100, 200, 200, 300)
LINE = "110,280 130,280"  # in the box's lower left corner, as stored


def item(side: Side = Side.RIGHT, line: str = LINE, **changes: Any) -> Item:
    hip = HipRow(side, BOX, "subtrochanteric", "")
    known: dict[str, Any] = {
        "line": 2, "file": Path("a.dcm"), "patient": "P", "split": "train", "view": "frontal",
        "turned": False, "mirrored": False, "hips": (hip,), "draw": 0, "manifest": Path("m.csv"),
        "cells": {f"{side.word.lower()}_fracture_line": line},
    }  # fmt: skip
    drawn = changes.pop("drawn", None)
    return Item(Row(**(known | changes)), hip, 3, drawn=drawn)


def recipe() -> Recipe:
    found = read_recipe("murphy2022-cnn2-real")
    assert isinstance(found, Recipe)
    return found


def test_a_line_becomes_a_spot_of_the_square_that_the_network_sees() -> None:
    right, left = spots(recipe(), [item(), item(Side.LEFT)], margin=0.5)
    assert right == pytest.approx([0.35, 0.65])  # 70 and 130 of 200 pixels
    assert left == pytest.approx([0.65, 0.65])  # which the network sees mirrored


@pytest.mark.parametrize(
    "changes", [{"line": ""}, {"turned": True}, {"mirrored": True}, {"drawn": Drawing("crack", 0)}]
)
def test_where_nothing_tells_the_place_there_is_no_spot(changes: dict[str, Any]) -> None:
    found = spots(recipe(), [item(**changes)], margin=0.5)
    assert np.isnan(found).all()
    assert not blurred(torch.from_numpy(found), 16).any()


def test_a_spot_is_brightest_where_the_finding_is() -> None:
    (picture,) = blurred(torch.tensor([[0.25, 0.75]]), 64)[:, 0]
    row, column = np.unravel_index(int(picture.argmax()), picture.shape)
    assert (row, column) in {(47, 15), (47, 16), (48, 15), (48, 16)}


def test_the_loss_falls_as_the_map_turns_to_the_finding_and_asks_nothing_where_it_is_unknown() -> (
    None
):
    seen = blurred(torch.tensor([[0.25, 0.75], [math.nan, math.nan]]), 64)
    cam = torch.zeros(2, 4, 8, 8, requires_grad=True)
    classes = torch.tensor([3, 1])

    def loss(row: int, column: int, of: int) -> float:
        hot = cam.detach().clone()
        hot[0, of, row, column] = 2.0
        return float(pointing(hot, classes, [0], seen))

    even = pointing(cam, classes, [0], seen)
    even.backward()  # type: ignore[no-untyped-call]
    assert cam.grad is not None
    assert not cam.grad[1].any(), "of whom the place is not known"
    assert loss(5, 1, 3) < even.item() < loss(1, 5, 3)
    assert loss(5, 1, 0) > even.item(), "a place that speaks for a whole hip"
    assert pointing(cam, classes, [0], torch.zeros_like(seen)).item() == 0
