"""The canonical picture and the way back: for every way of storing, every box and every map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hipnode.domain import Box, Header, Radiograph
from hipnode.imaging import Canonical, by_header
from hipnode.imaging.canonical import directions, turned

LETTERS = st.sampled_from(["L", "R", "A", "P", "H", "F", "LF", "", "X"])
OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "H": "F", "F": "H"}
EIGHT = [(a, b) for pair in ("LR", "HF") for a in pair for b in "LRHF" if b not in pair]


def header(*orientation: str) -> Header:
    return Header("1.2", "1.2.3", "1.2.4", patient_orientation=orientation)


@st.composite
def ways(draw: st.DrawFn, *, square: bool = False) -> Canonical:
    edges = st.integers(1, 40)
    aspect = 1.0 if square else draw(st.floats(0.33, 3))
    return Canonical(
        (draw(edges), draw(edges)), draw(st.integers(0, 3)), draw(st.booleans()), aspect
    )


@st.composite
def boxes(draw: st.DrawFn, shape: tuple[int, int]) -> Box:
    x0, y0 = draw(st.integers(0, shape[1] - 1)), draw(st.integers(0, shape[0] - 1))
    x1, y1 = draw(st.integers(x0 + 1, shape[1])), draw(st.integers(y0 + 1, shape[0]))
    return Box(x0, y0, x1, y1)


@given(LETTERS, LETTERS, st.integers(0, 3))
def test_four_turns_are_none_and_two_are_both_opposites(across: str, down: str, turns: int) -> None:
    found = directions(header(across, down))
    if found is not None:
        assert turned(found, turns + 4) == turned(found, turns)
        once = turned(found, turns)
        assert turned(found, turns + 2) == (OPPOSITE[once[0]], OPPOSITE[once[1]])


@given(st.data(), ways(square=True))
def test_a_box_covers_the_same_pixels_there_and_back(data: st.DataObject, way: Canonical) -> None:
    stored = np.arange(way.stored[0] * way.stored[1], dtype=np.float32).reshape(way.stored)
    picture = way.picture(stored)
    box = data.draw(boxes(way.shape))
    back = way.box_back(box)
    one = picture[box.y0 : box.y1, box.x0 : box.x1]
    other = stored[back.y0 : back.y1, back.x0 : back.x1]
    assert sorted(one.flat) == sorted(other.flat)
    assert way.box(back) == box


@given(st.data(), ways())
def test_a_box_of_any_pixels_lies_inside_the_image_and_keeps_its_place(
    data: st.DataObject, way: Canonical
) -> None:
    box = data.draw(boxes(way.stored))
    there = way.box(box)
    assert there.x1 <= way.shape[1]
    assert there.y1 <= way.shape[0]
    back = way.box_back(there)
    assert back.x1 <= way.stored[1]
    assert back.y1 <= way.stored[0]
    edges = ("x0", "y0", "x1", "y1")
    assert max(abs(getattr(back, e) - getattr(box, e)) for e in edges) <= 2


@given(st.floats(0, 1), st.floats(0, 1), ways())
def test_a_point_comes_back(across: float, down: float, way: Canonical) -> None:
    x, y = across * way.stored[1], down * way.stored[0]
    assert way.place_back(*way.place(x, y)) == pytest.approx((x, y), abs=1e-6)


@given(ways(square=True), st.integers(0, 3))
def test_turning_the_canonical_picture_again_is_one_turn_of_the_stored_image(
    way: Canonical, more: int
) -> None:
    stored = np.arange(way.stored[0] * way.stored[1], dtype=np.float32).reshape(way.stored)
    again = np.rot90(way.picture(stored), more)
    assert np.array_equal(way.turned(more).picture(stored), again)


@given(ways(square=True))
def test_a_map_over_a_whole_image_comes_back_as_its_pixels_do(way: Canonical) -> None:
    stored = np.random.default_rng(0).random(way.stored).astype(np.float32)
    picture = way.picture(stored)
    saliency = tuple(tuple(float(v) for v in row) for row in picture)
    assert np.array_equal(np.array(way.map_back(saliency)), stored)


@pytest.mark.parametrize("orientation", EIGHT)
@pytest.mark.parametrize("aspect", [1.0, 0.5, 2.0])
def test_the_eight_orientations_have_one_canonical_picture(
    orientation: tuple[str, str], aspect: float
) -> None:
    assert len(EIGHT) == 8
    upright = np.random.default_rng(1).random((6, 4)).astype(np.float32)
    stored = as_oriented(upright, orientation)
    sideways = orientation[0] in "HF"
    shape = 1 / aspect if sideways else aspect
    image = Radiograph(stored, aspect=shape)
    way = by_header(header(*orientation), image)
    assert way is not None
    plain = replace(way, aspect=1.0).picture(stored)
    assert np.array_equal(plain, upright)
    assert way.shape == {1.0: (6, 4), 0.5: (6, 8), 2.0: (12, 4)}[aspect]


def as_oriented(upright: np.ndarray, orientation: tuple[str, str]) -> np.ndarray:
    """Store an upright image, the patient's right on the viewer's left, in another orientation."""
    for mirrored in (False, True):
        for turns in range(4):
            across = turned(("R" if mirrored else "L", "F"), turns)
            if across == orientation:
                return np.rot90(upright[:, ::-1] if mirrored else upright, turns).copy()
    raise AssertionError(orientation)
