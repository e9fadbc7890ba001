"""Equivocal, further imaging: only where calibration shows a band, and said as such."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from hipnode.answers.reading import document
from hipnode.answers.right import opinion_of
from hipnode.domain import (
    RAISED,
    Attention,
    Decision,
    OperatingPoint,
    Reading,
    Role,
    Side,
    Verdict,
)
from hipnode.domain.opinions import Opinion
from hipnode.nets import ModelSet
from hipnode.nets.bundle.spec import HipnodePart
from hipnode.reading import ReadPolicy, read
from tests.unit.test_reading import HEADER, MODELS, pelvis

WIDE = OperatingPoint("banded", 0.5, 1.0, 0.0, 1.0)


def banded(point: OperatingPoint) -> ModelSet:
    spec = replace(MODELS.fracture.spec, operating_point=point)
    fracture = replace(MODELS.fracture, spec=spec)
    return replace(MODELS, models=MappingProxyType({**MODELS.models, Role.FRACTURE: fracture}))


@pytest.mark.parametrize(
    "band", [(0.1, None), (None, 0.6), (0.3, 0.6), (0.1, 0.15), (0.1, 0.9), (-0.1, 0.6)]
)
def test_a_band_lies_around_the_threshold_or_is_refused(band: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError, match="the band is not around"):
        OperatingPoint("x", 0.2, 0.8, *band)


def test_a_band_holds_its_lower_end_and_not_its_upper() -> None:
    point = OperatingPoint("x", 0.2, 0.8, 0.1, 0.4)
    inside = [p for p in (0.0, 0.0999, 0.1, 0.2, 0.3999, 0.4, 0.9, np.nan) if point.is_equivocal(p)]
    assert inside == [0.1, 0.2, 0.3999]
    assert not OperatingPoint("x", 0.2, 0.8).is_equivocal(0.2)


def test_a_hip_in_the_band_is_equivocal_and_for_now() -> None:
    reading = read(HEADER, pelvis(0.4, 0.4), banded(WIDE), ReadPolicy())
    for hip in reading.hips:
        assert hip.verdict is Verdict.EQUIVOCAL
        (finding,) = hip.findings
        assert finding.decision is Decision.EQUIVOCAL
        assert (hip.attention, hip.caveats) == (Attention.NOW, ())
    assert Reading.from_json(reading.to_json()) == reading
    assert {hip["verdict"] for hip in reading.facts()["hips"]} == {"fracture_equivocal"}
    point = document(Path(), reading)["hips"][0]["operating_point"]
    assert (point["equivocal_from"], point["equivocal_to"]) == (0.0, 1.0)


def test_without_a_band_nothing_is_equivocal() -> None:
    reading = read(HEADER, pelvis(0.4, 0.4), MODELS, ReadPolicy())
    assert {hip.verdict for hip in reading.hips} == {Verdict.NONE_SEEN}


def test_a_hip_that_is_not_usual_is_never_equivocal() -> None:
    seen = read(replace(HEADER, view_position="LL"), pelvis(0.4, 0.75), banded(WIDE), ReadPolicy())
    assert not any(hip.verdict is Verdict.EQUIVOCAL for hip in seen.hips)
    alone = read(HEADER, pelvis(0.4, only_left=True), banded(WIDE), ReadPolicy())
    assert alone.missing is Side.LEFT
    assert [hip.verdict for hip in alone.hips] == [Verdict.EQUIVOCAL]


def test_it_asked_for_a_look() -> None:
    assert Decision.EQUIVOCAL in RAISED
    assert opinion_of("equivocal", "present") is Opinion.AGREE
    assert opinion_of("equivocal", "absent") is Opinion.DISAGREE


def test_only_a_fracture_model_may_have_a_band() -> None:
    block: dict[str, Any] = {
        "format": 1, "name": "x", "version": "1.0.0", "role": "metal",
        "network": {"name": "gale_template", "arguments": {
            "depth": 4, "width": 8, "head_px": 2, "outputs": 2}},
        "outputs": ["logits"], "labels": ["no", "yes"], "positive_labels": ["yes"],
        "preprocessing": {"size_px": 32}, "card": "A test.", "trained_on": "Nothing.",
        "operating_point": {"name": "x", "doubtful_from": 0.2, "present_from": 0.8,
                            "equivocal_from": 0.1, "equivocal_to": 0.3},
    }  # fmt: skip
    with pytest.raises(ValueError, match="only a fracture"):
        HipnodePart.model_validate(block)
    assert HipnodePart.model_validate(block | {"role": "fracture"}).operating_point


# --- whether a validation split shows one ---------------------------------------------------------

POINT: dict[str, Any] = {"doubtful_from": 0.3, "present_from": 0.9, "chosen_on": "800 samples"}


def band_of(p: Any, truth: Any, share: float = 0.3) -> dict[str, Any]:
    pytest.importorskip("mapie")
    from hipnode.training.stats.calibrate import with_band

    return with_band(POINT, p, truth, share=share, broken=0.2, confidence=0.9)


def test_a_split_that_leaves_room_has_a_band() -> None:
    rng = np.random.default_rng(1)
    p = rng.beta(0.7, 0.7, 2000)
    made = band_of(p, rng.random(2000) < p)
    low, high = made["equivocal_from"], made["equivocal_to"]
    assert low <= 0.3 <= high <= 0.9
    inside = (p >= low) & (p < high)
    assert 0.05 < inside.mean() <= 0.3
    assert "certified at 90%" in made["chosen_on"]
    assert OperatingPoint("x", 0.3, 0.9, low, high)


@pytest.mark.parametrize("count", [16, 2000])
def test_a_split_that_does_not_show_one_has_none(count: int) -> None:
    rng = np.random.default_rng(2)
    truth = rng.random(count) < 0.5
    sure = np.where(truth, 0.99, 0.01) + rng.normal(0, 0.002, count)  # separated perfectly
    for p in (sure, rng.random(count) * (1 if count == 16 else 0.01)):
        made = band_of(p.clip(0, 1), truth)
        assert "equivocal_from" not in made
        assert "no band of equivocal ones is certified" in made["chosen_on"]


def test_a_band_is_promised_rightly() -> None:
    """In how many of 200 splits does the band hold fewer broken ones than was certified?"""
    rng = np.random.default_rng(3)
    wrong = found = 0
    for _ in range(200):
        p = rng.beta(0.7, 0.7, 600)
        made = band_of(p, rng.random(600) < p)
        if "equivocal_from" in made:
            found += 1
            fresh = rng.beta(0.7, 0.7, 20_000)
            low, high = made["equivocal_from"], made["equivocal_to"]
            broken = fresh[(fresh >= low) & (fresh < high)].mean()
            wrong += not 0.2 <= broken <= 0.8
    assert found > 100
    assert wrong <= 0.1 * found
