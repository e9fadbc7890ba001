"""Metal that the implant gate does not know: beside a box, or on a picture that is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from hipnode.domain import AbstentionReason, Attention, Radiograph, Role, Verdict
from hipnode.imaging import Squares, load
from hipnode.nets import ModelSet
from hipnode.reading import ReadPolicy, read
from hipnode.reading.metal import bars
from tests.unit.test_reading import HEADER, MODELS, SIZE, pelvis
from tests.unit.test_reading_views import Localises, _views

SAMPLES = Path(__file__).resolve().parents[2] / "hipnode" / "phantom" / "samples"
PELVIS = (0.85, 0.05, 0.05, 0.05)
LATERAL = (0.05, 0.05, 0.85, 0.05)
NO_HIP = (0.1, 0.1, 0.1, 0.7)
RIGHT, LEFT = 128, 384  # columns in the middle of each hip of `pelvis`


def thigh(width_px: float, *, turn_deg: float = 0.0, size: int = SIZE) -> NDArray[np.float32]:
    """A picture (size, size) of soft tissue and a bar: flat, with sharp edges."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] / size - 0.5
    turn = np.deg2rad(turn_deg)
    across, along = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    bar = (np.abs(across) < width_px / size / 2) & (np.abs(along) < 0.3)
    tissue = ndimage.gaussian_filter(rng.normal(0, 1, (size, size)), 20) * 0.5 + 0.25
    grey = tissue + 0.5 * bar + rng.normal(0, 0.01, (size, size))
    return np.asarray(grey.clip(0, 1), np.float32)


@pytest.mark.parametrize("turn_deg", [0, 20, 45, 90])
@pytest.mark.parametrize("width_px", [12, 16, 22])
def test_a_nail_is_seen_whatever_way_it_lies(width_px: float, turn_deg: float) -> None:
    found = bars(thigh(width_px, turn_deg=turn_deg))
    assert found
    assert abs(found[0].x - SIZE / 2) < 8


@pytest.mark.parametrize("gain", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("size", [300, 512, 1400])
def test_exposure_and_pixels_do_not_matter(size: int, gain: float) -> None:
    picture = thigh(16 / SIZE * size, turn_deg=10, size=size)
    assert bars(0.1 + gain * picture)


@pytest.mark.parametrize("name", ["normal.dcm", "fracture.dcm"])
def test_bones_whole_or_broken_are_no_nails(name: str) -> None:
    assert not bars(load(SAMPLES / name)[1].pixels)


@pytest.mark.parametrize("edge", [slice(0, 14), slice(SIZE - 14, SIZE)])
def test_the_edge_of_a_film_is_no_nail(edge: slice) -> None:
    picture = thigh(1) * 0.5
    picture[:, edge] = 1.0
    assert not bars(picture)


@pytest.mark.parametrize("shape", [(900, 700), (600, 600), (250, 200)])
def test_it_does_not_matter_what_else_an_image_is_shown_to(shape: tuple[int, int]) -> None:
    picture = thigh(40, turn_deg=15, size=1024)[: shape[0], -shape[1] :]
    shared = Squares(picture)
    for size_px in (64, 192):
        shared.whole(size_px)
    assert bars(shared) == bars(picture)


def test_an_empty_picture_has_none() -> None:
    assert bars(np.zeros((300, 400), np.float32)) == []


def nailed(column: int, bottom: int = SIZE) -> Radiograph:
    """A pelvis, with a bar whose metal no threshold of the test's localiser takes for a hip."""
    image = pelvis(left_level=0.4, right_level=0.4)
    image.pixels[bottom - 120 : bottom, column - 8 : column + 8] = 0.34
    return image


def models(*view: float) -> ModelSet:
    changed = dict(MODELS.models) | {Role.GATE: _views(*view)}
    return replace(MODELS, models=MappingProxyType(changed))


@pytest.mark.parametrize("column", [RIGHT, LEFT])
def test_metal_at_a_hip_forbids_none_seen_of_that_hip_alone(column: int) -> None:
    reading = read(HEADER, nailed(column), models(*PELVIS), ReadPolicy())
    mine, other = reading.hips if column == RIGHT else reversed(reading.hips)
    assert mine.verdict is Verdict.LOOK_NOW
    assert mine.abstention is not None
    assert mine.abstention.reason is AbstentionReason.POSSIBLE_METAL
    assert other.verdict is Verdict.NONE_SEEN
    assert reading.attention is Attention.NOW


def test_metal_far_above_a_hip_is_none_of_its_own() -> None:
    reading = read(HEADER, nailed(RIGHT, bottom=186), models(*PELVIS), ReadPolicy())
    assert {hip.verdict for hip in reading.hips} == {Verdict.NONE_SEEN}


@pytest.mark.parametrize("level", [0.36, 0.1])  # with hips that the localiser finds, and without
def test_metal_on_a_refused_view_of_a_hip_is_never_a_matter_of_routine(level: float) -> None:
    image = nailed(RIGHT)
    image.pixels[256:384] = np.minimum(image.pixels[256:384], level)
    reading = read(HEADER, image, models(*LATERAL), ReadPolicy())
    assert reading.abstention is not None
    assert reading.abstention.reason is AbstentionReason.POSSIBLE_METAL
    assert reading.attention is Attention.NOW


@pytest.mark.parametrize(
    ("level", "reason"),
    [(0.1, AbstentionReason.HIP_NOT_FOUND), (0.36, AbstentionReason.NOT_FRONTAL)],
)
def test_a_hip_s_view_in_which_none_is_found_is_never_a_matter_of_routine(
    level: float, reason: AbstentionReason
) -> None:
    image = pelvis(left_level=level, right_level=level)
    image.pixels[256:384] = np.minimum(image.pixels[256:384], level)
    reading = read(HEADER, image, models(*LATERAL), ReadPolicy())
    assert reading.abstention is not None
    assert reading.abstention.reason is reason
    soon = Attention.ROUTINE if reason is AbstentionReason.NOT_FRONTAL else Attention.NOW
    assert reading.attention is soon
    without = read(HEADER, image, models(*NO_HIP), ReadPolicy())
    assert without.attention is Attention.ROUTINE


def test_a_faint_hip_on_another_view_is_never_a_matter_of_routine() -> None:
    image = pelvis(left_level=0.36, only_left=True)
    image.pixels[256:384] = np.minimum(image.pixels[256:384], 0.36)
    image.pixels[:] = image.pixels[:, ::-1]  # where the localiser of the test is less sure
    changed = dict(models(*LATERAL).models) | {
        Role.LOCALISER: replace(MODELS.localiser, engine=Localises(0.8))  # type: ignore[arg-type]
    }
    reading = read(HEADER, image, replace(MODELS, models=MappingProxyType(changed)), ReadPolicy())
    assert reading.abstention is not None
    assert reading.abstention.reason is AbstentionReason.TOO_UNCERTAIN
    assert reading.attention is Attention.NOW


def test_metal_on_what_shows_no_hip_changes_nothing() -> None:
    reading = read(HEADER, nailed(RIGHT), models(*NO_HIP), ReadPolicy())
    assert reading.abstention is not None
    assert reading.abstention.reason is AbstentionReason.NOT_FRONTAL
