"""A view of one hip: which one it is, though the header is silent, and what else is in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hipnode.domain import Header, Radiograph, Reading, Side, Verdict, View
from hipnode.imaging import load
from hipnode.nets import load_model_set
from hipnode.reading import ReadPolicy, read

SAMPLES = Path(__file__).resolve().parents[2] / "hipnode" / "phantom" / "samples"
AROUND = {Side.RIGHT: (0, 560), Side.LEFT: (520, 1080)}
"""Columns of the sample with a fracture on the left: one hip whole, of the other an edge."""


@pytest.fixture(scope="module")
def models():  # type: ignore[no-untyped-def]
    return load_model_set(threads=1)


def one_hip(side: Side, laterality: str) -> tuple[Header, Radiograph]:
    header, whole = load(SAMPLES / "fracture.dcm")
    first, last = AROUND[side]
    part = np.ascontiguousarray(whole.pixels[200:1000, first:last])
    return replace(header, laterality=laterality), replace(whole, pixels=part)


@pytest.mark.parametrize("side", [Side.RIGHT, Side.LEFT])
def test_a_single_hip_is_looked_at_both_ways(side: Side, models) -> None:  # type: ignore[no-untyped-def]
    header, image = one_hip(side, "")
    reading = read(header, image, models, ReadPolicy())
    assert reading.view is View.HIP
    (hip,) = reading.hips
    assert hip.roi.side is side
    broken = hip.verdict in {Verdict.DEFINITE, Verdict.DOUBTFUL}
    assert broken is (side is Side.LEFT)
    told = read(*one_hip(side, side.value), models, ReadPolicy())
    assert p_alone(told) == p_alone(reading)


def test_a_header_that_names_the_other_side_is_believed_but_the_side_is_unsure(models) -> None:  # type: ignore[no-untyped-def]
    reading = read(*one_hip(Side.LEFT, "R"), models, ReadPolicy())
    (hip,) = reading.hips
    assert hip.roi.side is Side.RIGHT
    assert hip.verdict is Verdict.DOUBTFUL
    assert "side_unsure" in [str(caveat) for caveat in hip.caveats]
    assert p_alone(reading) == p_alone(read(*one_hip(Side.LEFT, "L"), models, ReadPolicy()))


def p_alone(reading: Reading) -> float | None:
    return reading.hips[0].findings[0].p_alone
