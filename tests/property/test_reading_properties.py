"""What must hold of sides, boxes and maps, whatever the image and the header."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hipnode.domain import Box, Header, HipROI, Radiograph, Side, View
from hipnode.imaging import Canonical, PreprocessSpec
from hipnode.reading import Candidate, hips
from hipnode.reading.classify import _saliency
from hipnode.reading.sides import Facing, facing
from hipnode.reading.verdict import SideIs

LETTERS = st.sampled_from(["L", "R", "A", "P", "H", "F", "LF", "", "X"])


def header(*orientation: str, laterality: str = "", view: str = "") -> Header:
    return Header(
        "1.2", "1.2.3", "1.2.4",
        patient_orientation=orientation, laterality=laterality, view_position=view,
    )  # fmt: skip


@given(LETTERS, LETTERS, st.integers(0, 3), st.sampled_from(["", "AP", "PA"]))
def test_a_side_is_certain_or_the_reason_is_said(
    across: str, down: str, turns: int, view: str
) -> None:
    image = Radiograph(np.zeros((4, 6), np.float32))
    made = facing(header(across, down, view=view), image, turns)
    assert made.side is SideIs.KNOWN or made.notes
    assert made.canonical.shape in {(4, 6), (6, 4)}
    if across[:1] in {"L", "R"} and down == "F" and turns == 0:
        assert made.canonical.mirrored is (across == "R")
        assert made == Facing(made.canonical)


@st.composite
def boxes(draw: st.DrawFn, rows: int, columns: int) -> Box:
    x0, y0 = draw(st.integers(0, columns - 1)), draw(st.integers(0, rows - 1))
    return Box(x0, y0, draw(st.integers(x0 + 1, columns)), draw(st.integers(y0 + 1, rows)))


@given(
    st.data(), st.lists(st.floats(0, 1), min_size=0, max_size=5), st.sampled_from(["", "L", "R"])
)
def test_at_most_one_hip_a_side_and_the_right_one_on_the_viewers_left(
    data: st.DataObject, scores: list[float], laterality: str
) -> None:
    found = [
        Candidate(data.draw(boxes(400, 500)), score, data.draw(st.floats(0.006, 0.2)))
        for score in scores
    ]
    said = header("L", "F", laterality=laterality)
    upright = Facing(Canonical((400, 500)))
    made = hips(found, said, (400, 500), upright, data.draw(st.sampled_from(list(View))))
    rois = made.rois
    assert bool(rois) is not bool(made.abstention)
    assert len({roi.side for roi in rois}) == len(rois) <= 2
    if len(rois) == 2:
        right, left = rois
        assert right.side is Side.RIGHT
        assert right.box.x0 + right.box.x1 <= left.box.x0 + left.box.x1
    if len(rois) == 1 and laterality:
        assert rois[0].side == laterality


@given(st.data(), st.sampled_from(list(Side)), st.floats(0, 0.6), st.booleans())
def test_saliency_is_a_map_of_the_box_in_unit_range(
    data: st.DataObject, side: Side, margin: float, flip: bool
) -> None:
    box = data.draw(boxes(300, 300))
    cam = np.random.default_rng(box.x0).random((8, 8), dtype=np.float32)
    spec = PreprocessSpec(64, crop_margin=margin, flip_left_to_right=flip)
    saliency = np.array(_saliency(cam, HipROI(side, box, 0.9), spec))
    assert saliency.ndim == 2
    assert min(saliency.shape) >= 1
    assert saliency.min() >= 0
    assert saliency.max() <= 1
