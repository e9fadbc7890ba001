"""The picture of a reading: what covers what, where lines lie, and what can be told apart."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pydicom.pixels.utils import pixel_array

from hipnode.domain import AbstentionReason, HipReading, ResultKind, Side
from hipnode.reporting import SourceImage, build, heatmap_png, picture
from hipnode.reporting.drawing import colour_map, image_offset_px
from tests import cases, factory
from tests.cases import request, source
from tests.factory import header, hip, reading, scene

R, L = Side.RIGHT, Side.LEFT


def draw(of: SourceImage, maker: str = "hipnode") -> np.ndarray:
    """Return the picture as an array."""
    return np.asarray(picture(of, maker))


def test_the_strips_cover_no_pixel_of_the_image() -> None:
    """The radiograph is whole between the strips, but for boxes, map and side letters."""
    child = source("1", reading(AbstentionReason.CHILD))
    picture = draw(child)
    top = image_offset_px(child)
    image = picture[top : top + 1000]
    assert picture.shape[1:] == (1200, 3)
    assert np.array_equal(image[..., 0], scene())
    assert picture.shape[0] > 1000 + top + 60


@pytest.mark.parametrize(("p", "solid"), [(0.97, True), (0.45, False)])
def test_definite_is_a_solid_line_and_doubtful_a_dashed_one(p: float, solid: bool) -> None:
    picked = source("1", reading([hip(R, p, saliency=None)]))
    picture = draw(picked).astype(int)
    y = image_offset_px(picked) + factory.RIGHT_BOX.y1
    edge = picture[y, factory.RIGHT_BOX.x0 + 10 : factory.RIGHT_BOX.x1 - 10]
    coloured = np.abs(edge.max(axis=1) - edge.min(axis=1)) > 60
    assert coloured.all() == solid
    assert coloured.any()


def test_boxes_lie_where_the_reading_puts_them_at_any_scale() -> None:
    """A reading of 1000 x 1200 drawn on a picture of a quarter of the size."""
    small = np.zeros((250, 300), np.uint8)
    picked = SourceImage(header(), reading([hip(L, 0.97, saliency=None)]), pixels=small)
    picture = draw(picked).astype(int)
    top = image_offset_px(picked)
    coloured = (picture.max(axis=2) - picture.min(axis=2) > 60)[top : top + 1000]
    rows = np.flatnonzero(coloured[:, 800:1000].sum(axis=1) > 150)
    assert abs(rows.min() - factory.LEFT_BOX.y0) <= 4
    assert abs(rows.max() - factory.LEFT_BOX.y1) <= 4


def test_the_map_is_drawn_only_where_something_was_found() -> None:
    for p, drawn in ((0.97, True), (0.45, True), (0.02, False)):
        with_map = draw(source("1", reading([hip(R, p)])))
        without = draw(source("1", reading([hip(R, p, saliency=None)])))
        assert np.array_equal(with_map, without) != drawn


@pytest.mark.parametrize(
    ("found", "mapped"),
    [
        (hip(R, 0.97), True),
        (hip(R, 0.97, saliency=None), False),  # a network without maps: a DXA scan's
        (hip(R, 0.02), False),
    ],
)
def test_what_is_said_of_a_map_is_said_only_where_there_is_one(
    found: HipReading, mapped: bool
) -> None:
    picked = source("1", reading([found]))
    legend = draw(picked)[image_offset_px(picked) + 1000 :].reshape(-1, 3)
    brightest = (0.6 * colour_map(np.ones((1, 1)))[0, 0] + 0.4 * 110).round()
    assert (legend == brightest).all(axis=1).any() == mapped, "the scale from 0 to 1"
    (built,) = (b for b in build(request(picked)) if b.kind is ResultKind.CAPTURE)
    assert ("DerivationCodeSequence" in built.dataset) == mapped
    assert ("class activation map" in built.dataset.DerivationDescription) == mapped


def test_the_colour_map_grows_brighter_all_the_way() -> None:
    """A map that grey-scale printing and red-green blindness leave in order."""
    rgb = colour_map(np.linspace(0, 1, 101)).astype(float)
    luma = rgb @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luma) > 0).all()


def test_the_headline_is_legible_on_a_thumbnail() -> None:
    """At 200 px width the words of the upper strip still have strokes of high contrast."""
    picked = source("1", reading([hip(R, 0.97), hip(L, 0.02)]))
    picture = Image.fromarray(draw(picked))
    small = picture.resize((200, picture.height * 200 // picture.width), Image.Resampling.LANCZOS)
    strip = np.asarray(small)[: image_offset_px(picked) * 200 // picture.width // 2]
    assert (strip.max(axis=2) > 150).mean() > 0.05


def test_the_png_is_the_capture() -> None:
    picked = cases.CASES["positive-right"].request("p").sources[0]
    png = np.asarray(Image.open(BytesIO(heatmap_png(picked, "hipnode 0.1.0"))))
    capture = next(
        b for b in build(request(picked, objects=frozenset({ResultKind.CAPTURE})))
    ).dataset
    node = cases.NODE
    shown = pixel_array(capture).astype(int)
    assert np.abs(shown - draw(picked, f"{node.name} {node.software_version}")).mean() < 3  # JPEG
    assert png.shape == shown.shape


def test_odd_shapes_can_be_drawn() -> None:
    for shape in ((40, 4000), (4000, 40), (3, 3)):
        wide = SourceImage(
            header(), reading(AbstentionReason.TOO_SMALL), pixels=np.zeros(shape, np.uint8)
        )
        assert draw(wide).shape[2] == 3
