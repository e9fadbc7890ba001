"""One image in every orientation and shape of pixels, read by the shipped models: one reading."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

import hipnode
from hipnode import imaging, nets
from hipnode.domain import Box, Header, HipReading, Radiograph, Reading
from hipnode.imaging import by_header
from hipnode.reading import ReadPolicy, read
from tests.examples import examples
from tests.property.test_canonical_properties import EIGHT, as_oriented

pytestmark = pytest.mark.slow
SAMPLES = Path(hipnode.__file__).parent / "phantom" / "samples"
NAMES = ("fracture", "normal", "implant")


@cache
def models() -> nets.ModelSet:
    return nets.load_model_set("default", device="cpu", threads=1)


@cache
def sample(name: str) -> tuple[Header, Radiograph, Reading]:
    header, image = imaging.load(SAMPLES / f"{name}.dcm")
    return header, image, read(header, image, models(), ReadPolicy())


def said(hip: HipReading) -> tuple[object, ...]:
    """What is said of a hip, without where it lies in the pixels as stored."""
    findings = [(f.task, f.decision, f.label, f.p_positive) for f in hip.findings]
    return hip.roi.side, hip.abstention, findings


@settings(max_examples=examples(24), deadline=None)
@given(st.sampled_from(NAMES), st.sampled_from(EIGHT), st.booleans())
def test_all_eight_orientations_are_read_alike(
    name: str, orientation: tuple[str, str], lower: bool
) -> None:
    header, image, expected = sample(name)
    stored = replace(image, pixels=as_oriented(image.pixels, orientation))
    written = tuple(letter.lower() for letter in orientation) if lower else orientation
    reading = read(replace(header, patient_orientation=written), stored, models(), ReadPolicy())
    assert [said(hip) for hip in reading.hips] == [said(hip) for hip in expected.hips]
    way = by_header(replace(header, patient_orientation=orientation), stored)
    assert way is not None
    assert [way.box(hip.roi.box) for hip in reading.hips] == [h.roi.box for h in expected.hips]
    for hip, truth in zip(reading.hips, expected.hips, strict=True):
        for one, other in zip(hip.findings, truth.findings, strict=True):
            assert one.saliency is None or shown(one.saliency, way) == other.saliency


def shown(saliency: tuple[tuple[float, ...], ...], way: imaging.Canonical) -> object:
    turned = np.rot90(np.array(saliency), way.turns)
    return tuple(map(tuple, turned[:, ::-1].tolist() if way.mirrored else turned.tolist()))


@cache
def without_margins(name: str) -> tuple[Header, Radiograph, Reading]:
    header, image, _ = sample(name)
    pixels = image.pixels
    for _ in range(4):  # each edge in turn
        uneven = np.flatnonzero(np.ptp(pixels, axis=1) > 0.05)
        pixels = np.rot90(pixels[uneven[0] :])
    image = replace(image, pixels=pixels.copy())
    return header, image, read(header, image, models(), ReadPolicy())


@settings(max_examples=examples(8), deadline=None)
@given(
    st.sampled_from(NAMES),
    st.sampled_from((0.0, 0.02, 0.5, 1.0)),
    st.lists(st.sampled_from((0.03, 0.05, 0.3)), min_size=2, max_size=2),
    st.booleans(),
)
def test_even_margins_around_an_image_change_nothing(
    name: str, grey: float, around: list[float], upright: bool
) -> None:
    header, image, expected = without_margins(name)
    rows, columns = image.pixels.shape
    top, bottom = (round(share * rows) if upright else 0 for share in around)
    left, right = (round(share * columns) for share in around)
    noise = np.random.default_rng(0).uniform(-0.01, 0.01, (rows + top + bottom, 1))
    canvas = np.clip(np.full((1, columns + left + right), grey) + noise, 0, 1).astype(np.float32)
    canvas[top : top + rows, left : left + columns] = image.pixels
    reading = read(header, replace(image, pixels=canvas), models(), ReadPolicy())
    assert [said(hip) for hip in reading.hips] == [said(hip) for hip in expected.hips]
    boxes = [hip.roi.box.moved(left, top) for hip in expected.hips]
    assert [hip.roi.box for hip in reading.hips] == boxes
    assert (reading.rows, reading.columns) == canvas.shape


@pytest.mark.parametrize("laterality", ["R", "L"])
def test_a_single_hip_is_read_alike_mirrored_or_not(laterality: str) -> None:
    header, image, whole = sample("normal")
    box = next(h.roi.box for h in whole.hips if h.roi.side == laterality)
    from_x = max(0, box.x0 - box.width_px // 3)  # a view of one hip
    alone = image.pixels[:, from_x : box.x1 + box.width_px // 3].copy()
    header = replace(header, laterality=laterality)
    plain = read(header, replace(image, pixels=alone), models(), ReadPolicy())
    mirrored = replace(image, pixels=alone[:, ::-1].copy())
    flipped = replace(header, patient_orientation=("R", "F"))
    other = read(flipped, mirrored, models(), ReadPolicy())
    assert [said(hip) for hip in plain.hips] == [said(hip) for hip in other.hips]
    assert [hip.roi.side for hip in plain.hips] == [laterality]


@pytest.mark.parametrize("name", ["fracture", "normal"])
@pytest.mark.parametrize(("down", "across"), [(0.7, 1), (1.4, 1), (1, 0.7), (2, 1), (1, 2)])
def test_pixels_that_are_not_square_are_read_as_square_ones(
    name: str, down: float, across: float
) -> None:
    header, image, expected = sample(name)
    size = round(image.rows / down), round(image.columns / across)
    stored = Radiograph(imaging.resample(image.pixels, size), aspect=down / across)
    reading = read(header, stored, models(), ReadPolicy())
    assert any("square" in note for note in reading.notes)
    for hip, truth in zip(reading.hips, expected.hips, strict=True):
        assert hip.roi.side is truth.roi.side
        assert bool(hip.abstention) is bool(truth.abstention)
        for one, other in zip(hip.findings, truth.findings, strict=True):
            assert one.p_positive == pytest.approx(other.p_positive, abs=0.15)
        assert near(hip.roi.box, truth.roi.box, down, across)
    assert (reading.rows, reading.columns) == size


def near(box: Box, truth: Box, down: float, across: float) -> bool:
    xs = abs(box.x0 * across - truth.x0), abs(box.x1 * across - truth.x1)
    ys = abs(box.y0 * down - truth.y0), abs(box.y1 * down - truth.y1)
    return max(*xs, *ys) <= 8


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_exif_orientation_tells_how_a_picture_lies(
    orientation: int, suffix: str, tmp_path: Path
) -> None:
    _, image, _ = sample("fracture")
    upright = Image.fromarray((image.pixels * 255).astype(np.uint8))
    back = {5: 5, 6: 8, 7: 7, 8: 6}.get(orientation, orientation)
    stored = ImageOps.exif_transpose(_tagged(upright, back, tmp_path / f"upright{suffix}"))
    path = tmp_path / f"stored{suffix}"
    _tagged(stored, orientation, path)
    _, upright_read = imaging.load_picture(tmp_path / f"upright{suffix}")
    header, picture = imaging.load_picture(path)
    seen = imaging.as_shown(picture).picture(picture.pixels)
    assert np.abs(seen - upright_read.pixels).max() < (0.1 if suffix == ".jpg" else 1e-6)
    reading = read(header, picture, models(), ReadPolicy())
    plain = read(header, replace(upright_read, shown_turns=0, shown_mirrored=False), models(),
                 ReadPolicy())  # fmt: skip
    way = imaging.as_shown(picture)
    for hip, truth in zip(reading.hips, plain.hips, strict=True):
        assert hip.roi.side is truth.roi.side
        assert near(way.box(hip.roi.box), truth.roi.box, 1, 1)


def _tagged(image: Image.Image, orientation: int, path: Path) -> Image.Image:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif, quality=95)
    return Image.open(path)
