"""The picture of a reading: boxes and heat maps on the radiograph, words on strips beside it.

No word covers a pixel of the image but the side letters; the strips extend the canvas. A box shows
one map at most, that of the finding that gives it its colour, and the legend names it.
"""

from __future__ import annotations

from io import BytesIO
from itertools import pairwise
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from hipnode.domain import Box, Decision, Finding, HipReading, Side, Task
from hipnode.reporting.languages import ENGLISH, Phrases
from hipnode.reporting.palette import OPACITY, PAPER, colour_map, font, line, style
from hipnode.reporting.ranking import rank_of
from hipnode.reporting.request import SourceImage, findings_of
from hipnode.reporting.strips import headline_strip, legend_strip

LONG_SIDE_PX: Final = 1200
"""Of the radiograph in the picture: sharp on a screen, and small on the wire."""


def heatmap_png(source: SourceImage, maker: str = "hipnode", phrases: Phrases = ENGLISH) -> bytes:
    """Return the picture of one reading as a PNG file.

    Parameters
    ----------
    source, maker, phrases
        As for `picture`.
    """
    buffer = BytesIO()
    picture(source, maker, phrases).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def picture(source: SourceImage, maker: str = "hipnode", phrases: Phrases = ENGLISH) -> Image.Image:
    """Return the picture of one reading.

    Parameters
    ----------
    source
        With pixels; the boxes are scaled from the reading's rows and columns to them.
    maker
        Who made it, for the last line.
    phrases
        The language.

    Returns
    -------
    PIL.Image.Image
        RGB; the radiograph between two strips.

    Raises
    ------
    ValueError
        If the source has no pixels.
    """
    if source.pixels is None:
        raise ValueError("an image without pixels cannot be drawn")
    image = Image.fromarray(source.pixels)
    shrink = LONG_SIDE_PX / max(image.size)
    size = (max(1, round(image.width * shrink)), max(1, round(image.height * shrink)))
    image = image.resize(size, Image.Resampling.LANCZOS).convert("RGB")
    rows, columns = source.pixels.shape
    if source.reading is not None:
        rows, columns = source.reading.rows, source.reading.columns
    scale = (image.width / columns, image.height / rows)
    for hip in source.hips:
        _draw_hip(image, hip, scale, phrases)
    return _framed(image, source, maker, phrases)


def image_offset_px(source: SourceImage, phrases: Phrases = ENGLISH) -> int:
    """Return how many rows of the picture the upper strip takes (for tests and overlays).

    Raises
    ------
    ValueError
        If the source has no pixels.
    """
    if source.pixels is None:
        raise ValueError("an image without pixels cannot be drawn")
    shrink = LONG_SIDE_PX / max(source.pixels.shape)
    width = max(1, round(source.pixels.shape[1] * shrink))
    return int(headline_strip(source, width, phrases).height)


def _framed(image: Image.Image, source: SourceImage, maker: str, phrases: Phrases) -> Image.Image:
    top = headline_strip(source, image.width, phrases)
    bottom = legend_strip(source, image.width, maker, maps_of(source), phrases)
    out = Image.new("RGB", (image.width, top.height + image.height + bottom.height), PAPER)
    out.paste(top, (0, 0))
    out.paste(image, (0, top.height))
    out.paste(bottom, (0, top.height + image.height))
    return out


def worst(hip: HipReading) -> Decision | None:
    """Return the decision of the worst finding about a hip; None where nothing is said of it."""
    leading = _leading(hip)
    return leading.decision if leading else None


def maps_of(source: SourceImage) -> dict[Task, list[Side]]:
    """Return whose maps are drawn: of which task, over which hips. Not every network gives one."""
    drawn: dict[Task, list[Side]] = {}
    for hip in source.hips:
        if (shown := _mapped(hip)) is not None:
            drawn.setdefault(shown.task, []).append(hip.roi.side)
    return drawn


def _leading(hip: HipReading) -> Finding | None:
    return min(findings_of(hip), key=rank_of, default=None)


def _mapped(hip: HipReading) -> Finding | None:
    """Return the finding whose map is drawn: the worst, if it is likely or possible and has one."""
    leading = _leading(hip)
    if leading is None or leading.decision is Decision.ABSENT or not leading.saliency:
        return None
    return leading


def _draw_hip(
    image: Image.Image, hip: HipReading, scale: tuple[float, float], phrases: Phrases
) -> None:
    box = hip.roi.box
    x0, x1 = box.x0 * scale[0], box.x1 * scale[0]
    y0, y1 = box.y0 * scale[1], box.y1 * scale[1]
    if shown := _mapped(hip):
        _overlay(image, shown, Box(round(x0), round(y0), round(x1), round(y1)))
    colour, width, dashes = style(worst(hip))
    pen = ImageDraw.Draw(image)
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
    for ink, thick in (((0, 0, 0), width + 4), (colour, width)):  # a dark rim first
        for start, end in pairwise(corners):
            line(pen, start, end, ink, thick, dashes)
    letter_px = max(28, image.width // 16)
    up = y0 - width > letter_px * 1.1
    place = (x0, y0 - width - 2 if up else y0 + width + 2)
    pen.text(
        place, phrases.letters[hip.roi.side], font=font(letter_px), fill=colour,
        anchor="ls" if up else "lt", stroke_width=4, stroke_fill=(0, 0, 0),
    )  # fmt: skip


def _overlay(image: Image.Image, finding: Finding, box: Box) -> None:
    """Lay the map over its box: the higher the value, the brighter and the less transparent."""
    size = (min(box.x1, image.width) - box.x0, min(box.y1, image.height) - box.y0)
    if min(size) < 1:
        return
    values = Image.fromarray(np.asarray(finding.saliency, dtype=np.float32)).resize(
        size, Image.Resampling.BICUBIC
    )
    level = np.clip(np.asarray(values), 0.0, 1.0)  # (rows, columns)
    coloured = Image.fromarray(colour_map(level, finding.task))
    opacity = Image.fromarray((255 * OPACITY * level).astype(np.uint8))
    image.paste(coloured, (box.x0, box.y0), opacity)
