"""Whose side a hip is on: what the header says, what is seen, and images that are stored turned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hipnode.domain import Caveat, Header, Radiograph, Side, Verdict
from hipnode.reading import ReadPolicy, read
from tests.unit.test_reading import HEADER, MODELS, _fields, pelvis


@pytest.mark.parametrize(
    ("orientation", "first_side"), [(("L", "F"), Side.RIGHT), (("R", "F"), Side.LEFT)]
)
def test_patient_orientation_decides_whose_side_it_is(
    orientation: tuple[str, ...], first_side: Side
) -> None:
    header = Header(**{**_fields(HEADER), "patient_orientation": orientation})
    reading = read(header, pelvis(), MODELS, ReadPolicy())
    on_the_left = min(reading.hips, key=lambda hip: hip.roi.box.x0)
    assert on_the_left.roi.side is first_side
    assert not any("viewer's left" in note for note in reading.notes)


@pytest.mark.parametrize(
    ("turns", "orientation", "first_side"),
    [
        # What the header of the stored image must say so that, upright, rows lead to the left.
        (1, ("H", "L"), Side.RIGHT),
        (2, ("R", "H"), Side.RIGHT),
        (3, ("F", "R"), Side.RIGHT),
        (1, ("H", "R"), Side.LEFT),
        (2, ("L", "H"), Side.LEFT),
    ],
)
def test_patient_orientation_is_turned_with_the_image(
    turns: int, orientation: tuple[str, str], first_side: Side
) -> None:
    stored = Radiograph(np.rot90(pelvis(0.4, 0.6).pixels, -turns).copy())
    header = Header(**{**_fields(HEADER), "patient_orientation": orientation})  # type: ignore[arg-type]
    reading = read(header, stored, MODELS, ReadPolicy())
    bright = {Side.RIGHT: Side.LEFT, Side.LEFT: Side.RIGHT}[first_side]  # the viewer's right
    for hip in reading.hips:
        box = hip.roi.box
        mean = float(stored.pixels[box.y0 : box.y1, box.x0 : box.x1].mean())
        assert (mean > 0.5) is (hip.roi.side is bright)
    assert not any("viewer's left" in note for note in reading.notes)


@pytest.mark.parametrize(
    "changes",
    [
        {
            "patient_orientation": ("L", "H")
        },  # upside down, says the header; upright, says the image
        {"patient_orientation": ("H", "L")},
        {"view_position": "PA"},
    ],
)
def test_against_the_header_no_side_is_certain(changes: dict[str, object]) -> None:
    header = Header(**{**_fields(HEADER), **changes})  # type: ignore[arg-type]
    reading = read(header, pelvis(right_level=0.8), MODELS, ReadPolicy())
    _, left = reading.hips
    assert left.verdict is Verdict.DOUBTFUL  # without doubt about the side it is definite
    assert Caveat.SIDE_UNSURE in left.caveats
    assert any("not certain" in note for note in reading.notes)


@pytest.mark.parametrize(
    ("orientation", "on_the_viewers_left"),
    [
        (("L", "H"), Side.RIGHT),  # upside down, says the header; upright, says the image
        (("R", "H"), Side.LEFT),
        (("H", "L"), Side.RIGHT),  # sideways, says the header, and not mirrored
        (("F", "L"), Side.LEFT),  # sideways and mirrored
        (("A", "L"), Side.RIGHT),
    ],
)
def test_where_header_and_picture_differ_the_likelier_side_is_named(
    orientation: tuple[str, str], on_the_viewers_left: Side
) -> None:
    reading = read(replace(HEADER, patient_orientation=orientation), pelvis(), MODELS, ReadPolicy())
    assert min(reading.hips, key=lambda hip: hip.roi.box.x0).roi.side is on_the_viewers_left


def test_a_single_hip_s_side_is_the_header_s() -> None:
    image = pelvis(only_left=True)
    known = Header(**{**_fields(HEADER), "laterality": "L"})  # type: ignore[arg-type]
    (hip,) = read(known, image, MODELS, ReadPolicy()).hips
    assert hip.roi.side is Side.LEFT
    assert hip.roi.looks_like is Side.RIGHT  # to a network: it lies on the viewer's left


@pytest.mark.parametrize("turns", [1, 3])
def test_an_image_stored_turned_is_read_upright_and_its_boxes_fit_what_is_stored(
    turns: int,
) -> None:
    upright = pelvis()
    stored = Radiograph(np.rot90(upright.pixels, -turns).copy())
    reading = read(HEADER, stored, MODELS, ReadPolicy())
    expected = read(HEADER, upright, MODELS, ReadPolicy())
    assert any("turned by" in note for note in reading.notes)
    for hip, truth in zip(reading.hips, expected.hips, strict=True):
        box, true_box = hip.roi.box, truth.roi.box
        crop = np.rot90(stored.pixels[box.y0 : box.y1, box.x0 : box.x1], turns)
        true = upright.pixels[true_box.y0 : true_box.y1, true_box.x0 : true_box.x1]
        assert abs(crop.shape[0] - true.shape[0]) <= 4
        assert crop.mean() == pytest.approx(true.mean(), abs=0.05)
