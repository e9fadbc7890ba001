"""Colours, lines and letters of the pictures.

What a line means is told by its pattern as well as by its colour. Each task's map has colours of
its own, so that two in one picture are told apart; all grow brighter from end to end, and read the
same with and without red-green vision.

References
----------
Nunez, Anderton, Renslow 2018, "Optimizing colormaps with consideration for color vision
deficiency" (cividis), PLOS ONE 13(7) e0199239.
"""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import reportlab
from numpy.typing import NDArray
from PIL import ImageDraw, ImageFont

from hipnode.domain import TASKS, Decision, Task

Colour = tuple[int, int, int]
RGB = NDArray[np.uint8]

INK: Final[Colour] = (245, 245, 245)
DIM: Final[Colour] = (190, 190, 190)
PAPER: Final[Colour] = (16, 18, 22)
WARNING: Final[Colour] = (255, 214, 64)
LIKELY: Final[Colour] = (255, 122, 26)
POSSIBLE: Final[Colour] = (86, 190, 255)
OPACITY: Final = 0.6
"""Of a map where it is 1; where it is 0, nothing covers the image."""
FONTS: Final = Path(reportlab.__file__).with_name("fonts")
"""They come with reportlab and have the letters of every language: none of the system is needed."""


@cache
def font(size_px: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return the font in a size."""
    return ImageFont.truetype(FONTS / ("VeraBd.ttf" if bold else "Vera.ttf"), size_px)


def style(decision: Decision | None) -> tuple[Colour, int, tuple[int, int] | None]:
    """Return colour, width in px and (dash, gap) in px of a box; None is not assessed."""
    if decision is Decision.PRESENT:
        return LIKELY, 6, None
    if decision in {Decision.DOUBTFUL, Decision.EQUIVOCAL}:
        return POSSIBLE, 6, (28, 18)
    if decision is Decision.ABSENT:
        return INK, 2, None
    return DIM, 3, (6, 12)


def colour_map(
    level: NDArray[np.float32] | NDArray[np.float64], task: Task = Task.HIP_FRACTURE
) -> RGB:
    """Return the colours of (rows, columns) float32 levels in [0, 1]: (rows, columns, 3) uint8."""
    ramp = np.asarray(TASKS[task].ramp, dtype=np.float64)
    stops = np.linspace(0.0, 1.0, len(ramp))
    out = np.empty((*level.shape, 3), dtype=np.uint8)
    for channel in range(3):
        out[..., channel] = np.rint(np.interp(level, stops, ramp[:, channel]))
    return out


def line(
    pen: ImageDraw.ImageDraw,
    start: tuple[float, float],
    end: tuple[float, float],
    colour: Colour,
    width: int,
    dashes: tuple[int, int] | None,
) -> None:
    """Draw a level or upright line, whole or in dashes of (dash, gap) px."""
    length = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
    dash, gap = dashes or (length, 1.0)
    at = 0.0
    while at < length:
        a, b = at / length, min(at + dash, length) / length
        piece = [
            (start[0] + t * (end[0] - start[0]), start[1] + t * (end[1] - start[1])) for t in (a, b)
        ]
        pen.line(piece, fill=colour, width=width)
        at += dash + gap


def fit(
    pen: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    size: int,
    room: int,
    colour: Colour,
    anchor: str = "la",
    *,
    bold: bool = False,
) -> None:
    """Write a line in the given size, or the largest smaller one that fits."""
    size = fitting(text, size, room, bold=bold)
    pen.text(place, text, font=font(size, bold=bold), fill=colour, anchor=anchor)


@lru_cache(maxsize=512)
def fitting(text: str, size: int, room: int, *, bold: bool = False) -> int:
    """Return the largest size up to the given one in which a line fits into ``room`` px."""
    while size > 9 and font(size, bold=bold).getlength(text) > room:
        size -= 1
    return size
