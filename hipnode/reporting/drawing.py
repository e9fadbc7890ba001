"""The picture of a reading: boxes and heat map on the radiograph, words on strips beside it.

No word covers a pixel of the image but the side letters; the strips extend the canvas. What a line
means is told by its pattern as well as by its colour, and the colour map is cividis, which reads
the same with and without red-green vision.

References
----------
Nunez, Anderton, Renslow 2018, "Optimizing colormaps with consideration for color vision
deficiency" (cividis), PLOS ONE 13(7) e0199239.
"""

from __future__ import annotations

from functools import cache
from io import BytesIO
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hipnode import DISCLAIMER, codes
from hipnode.domain import Attention, Box, Decision, HipReading, Saliency, Task, Verdict
from hipnode.reporting.request import SourceImage, findings_of
from hipnode.reporting.terms import TERMS, leading_class, reason_of, words
from hipnode.reporting.words import ascii_text, certainty, models_of

Colour = tuple[int, int, int]
RGB = NDArray[np.uint8]

LONG_SIDE_PX: Final = 1200
"""Of the radiograph in the picture: sharp on a screen, and small on the wire."""
_CIVIDIS: Final = np.array(
    [
        (0, 34, 78), (0, 46, 106), (26, 56, 111), (50, 67, 109), (67, 78, 108),
        (83, 90, 109), (97, 101, 111), (111, 112, 115), (125, 124, 120), (140, 136, 120),
        (155, 148, 118), (171, 160, 114), (188, 174, 108), (205, 187, 99), (222, 201, 88),
        (240, 216, 70), (254, 232, 56),
    ],
    dtype=np.float64,
)  # fmt: skip
_INK: Final[Colour] = (245, 245, 245)
_DIM: Final[Colour] = (190, 190, 190)
_PAPER: Final[Colour] = (16, 18, 22)
WARNING: Final[Colour] = (255, 214, 64)
DEFINITE: Final[Colour] = (255, 122, 26)
DOUBTFUL: Final[Colour] = (86, 190, 255)
_OPACITY: Final = 0.6
_DOUBTFUL: Final = "doubtful - expert review advised"


def heatmap_png(source: SourceImage, maker: str = "hipnode") -> bytes:
    """Return the picture of one reading as a PNG file.

    Parameters
    ----------
    source, maker
        As for `draw`.
    """
    buffer = BytesIO()
    Image.fromarray(draw(source, maker)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def draw(source: SourceImage, maker: str = "hipnode") -> RGB:
    """Return the picture of one reading.

    Parameters
    ----------
    source
        With pixels; the boxes are scaled from the reading's rows and columns to them.
    maker
        Who made it, for the last line.

    Returns
    -------
    numpy.ndarray
        (rows, columns, 3) uint8 RGB; the radiograph between two strips.

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
        _draw_hip(image, hip, scale)
    return _framed(image, source, maker)


def image_offset_px(source: SourceImage) -> int:
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
    return int(_headline_strip(source, width).height)


@cache
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's own font: no font of the system is needed."""
    return ImageFont.load_default(size_px)


# --- on the image -----------------------------------------------------------------------------


def worst(hip: HipReading) -> Decision | None:
    """Return the most serious decision about a hip; None where nothing is said of it."""
    order = (Decision.PRESENT, Decision.DOUBTFUL, Decision.ABSENT)
    decisions = {f.decision for f in findings_of(hip)}
    return next((d for d in order if d in decisions), None)


def has_map(source: SourceImage) -> bool:
    """Tell whether a heat map is laid over any hip; not every network gives one."""
    return any(_map_of(hip) for hip in source.hips)


def _map_of(hip: HipReading) -> Saliency | None:
    """Return the map that is shown of a hip: that of the finding that decides its box's colour."""
    decision = worst(hip)
    if decision not in (Decision.PRESENT, Decision.DOUBTFUL):
        return None
    maps = (f.saliency for f in findings_of(hip) if f.decision is decision and f.saliency)
    return next(maps, None)


def _style(decision: Decision | None) -> tuple[Colour, int, tuple[int, int] | None]:
    """Return colour, width in px and (dash, gap) in px of a box."""
    if decision is Decision.PRESENT:
        return DEFINITE, 6, None
    if decision is Decision.DOUBTFUL:
        return DOUBTFUL, 6, (28, 18)
    if decision is Decision.ABSENT:
        return _INK, 2, None
    return _DIM, 3, (6, 12)


def _draw_hip(image: Image.Image, hip: HipReading, scale: tuple[float, float]) -> None:
    box = hip.roi.box
    x0, x1 = box.x0 * scale[0], box.x1 * scale[0]
    y0, y1 = box.y0 * scale[1], box.y1 * scale[1]
    decision = worst(hip)
    if saliency := _map_of(hip):
        _overlay(image, saliency, Box(round(x0), round(y0), round(x1), round(y1)))
    colour, width, dashes = _style(decision)
    pen = ImageDraw.Draw(image)
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
    for ink, thick in (((0, 0, 0), width + 4), (colour, width)):  # a dark rim first
        for start, end in pairwise(corners):
            _line(pen, start, end, ink, thick, dashes)
    letter_px = max(28, image.width // 16)
    font = _font(letter_px)
    up = y0 - width > letter_px * 1.1
    place = (x0, y0 - width - 2 if up else y0 + width + 2)
    pen.text(
        place, hip.roi.side.value, font=font, fill=colour, anchor="ls" if up else "lt",
        stroke_width=4, stroke_fill=(0, 0, 0),
    )  # fmt: skip


def _overlay(image: Image.Image, saliency: Saliency, box: Box) -> None:
    """Lay the map over its box: the higher the value, the brighter and the less transparent."""
    size = (min(box.x1, image.width) - box.x0, min(box.y1, image.height) - box.y0)
    if min(size) < 1:
        return
    values = Image.fromarray(np.asarray(saliency, dtype=np.float32)).resize(
        size, Image.Resampling.BICUBIC
    )
    level = np.clip(np.asarray(values), 0.0, 1.0)  # (rows, columns)
    coloured = Image.fromarray(colour_map(level))
    opacity = Image.fromarray((255 * _OPACITY * level).astype(np.uint8))
    image.paste(coloured, (box.x0, box.y0), opacity)


def colour_map(level: NDArray[np.float32] | NDArray[np.float64]) -> RGB:
    """Return the colours of (rows, columns) float32 levels in [0, 1]: (rows, columns, 3) uint8."""
    stops = np.linspace(0.0, 1.0, len(_CIVIDIS))
    channels = [np.interp(level, stops, _CIVIDIS[:, c]) for c in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def _line(
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


# --- the strips -------------------------------------------------------------------------------


def _framed(image: Image.Image, source: SourceImage, maker: str) -> RGB:
    top = _headline_strip(source, image.width)
    bottom = _legend_strip(source, image.width, maker)
    out = Image.new("RGB", (image.width, top.height + image.height + bottom.height), _PAPER)
    out.paste(top, (0, 0))
    out.paste(image, (0, top.height))
    out.paste(bottom, (0, top.height + image.height))
    return np.asarray(out)


Said = tuple[Colour, str, str]
"""A colour, what is said in large letters, and how sure in small ones."""


def _cells(source: SourceImage) -> list[list[Said]]:
    """Return what each cell says, in the order in which the hips lie in the image."""
    if not source.hips:
        reading = source.reading
        reason = reading.abstention.reason if reading and reading.abstention else None
        look = reading is not None and reading.attention is Attention.NOW
        colour, what = (WARNING, "LOOK NOW") if look else (_DIM, "NOT ASSESSED")
        return [[(colour, what, reason_of(reason).meaning)]]
    ordered = sorted(source.hips, key=lambda hip: hip.roi.box.x0 + hip.roi.box.x1)
    cells = [said_of(hip) for hip in ordered]
    if source.missing is not None:
        cells.append([(WARNING, f"{source.missing.value}: LOOK NOW", "no hip was found there")])
    return cells


def said_of(hip: HipReading) -> list[Said]:
    """Return what is said of a hip: one entry for each finding, or one for the abstention."""
    side = hip.roi.side.value
    if hip.abstention is not None:
        why = reason_of(hip.abstention.reason).meaning
        if hip.verdict is Verdict.LOOK_NOW:
            return [(WARNING, f"{side}: LOOK NOW", f"not judged: {why}")]
        return [(_DIM, f"{side}: NOT ASSESSED", why)]
    said = []
    for finding in findings_of(hip):
        short, p = TERMS[finding.task].short, certainty(finding)
        colour = _style(finding.decision)[0]
        if finding.decision is Decision.PRESENT:
            leading = leading_class(finding)
            kind = f", most likely {words(leading)}" if leading else ""
            said.append((colour, f"{side}: {short.upper()} {p}", f"suspected, definite{kind}"))
        elif finding.decision is Decision.DOUBTFUL:
            because = [codes.CAVEATS[c.value].meaning for c in hip.caveats]
            fracture = finding.task is Task.HIP_FRACTURE
            sure = f"doubtful - {because[0]}" if because and fracture else _DOUBTFUL
            said.append((colour, f"{side}: {short.upper()}? {p}", sure))
        else:
            said.append((colour, f"{side}: no {short}", f"none detected (AI {p}) - not excluded"))
    return said


def _headline_strip(source: SourceImage, width: int) -> Image.Image:
    cells = _cells(source)
    big = max(30, width // (15 if len(cells) > 1 else 12))
    small, gap = max(18, big // 2), big // 4
    entry = big + small + 2 * gap
    height = max(len(cell) for cell in cells) * entry + gap
    strip = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(strip)
    room = width // len(cells)
    big = min(_fitting(pen, what, big, room - big // 2) for cell in cells for _, what, _ in cell)
    for index, cell in enumerate(cells):
        x = index * room
        for n, (colour, what, sure) in enumerate(cell):
            y = n * entry + gap
            pen.rectangle((x, y - gap, x + gap * 2 // 3, y + entry - gap), fill=colour)
            _fit(pen, (x + gap * 3 // 2, y), what, big, room - gap * 2, colour)
            _fit(pen, (x + gap * 3 // 2, y + big + gap), sure, small, room - gap * 2, _INK)
    return strip


def _fit(
    pen: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    size: int,
    room: int,
    colour: Colour,
    anchor: str = "la",
) -> None:
    """Write a line in the given size, or the largest smaller one that fits."""
    font = _font(_fitting(pen, text, size, room))
    pen.text(place, text, font=font, fill=colour, anchor=anchor)


def _fitting(pen: ImageDraw.ImageDraw, text: str, size: int, room: int) -> int:
    while size > 9 and pen.textlength(text, _font(size)) > room:
        size -= 1
    return size


def _legend_strip(source: SourceImage, width: int, maker: str) -> Image.Image:
    warn, text = max(26, width // 24), max(15, width // 60)
    tiny = max(12, width // 85)
    rows = [(warn * 3) // 2, text * 2]
    models = [f"{m.name} {m.version} ({m.digest[:8]})" for m in models_of([source])]
    what = "heat map" if has_map(source) else "result"
    last = ascii_text(f"AI {what} by {maker}. Model: {', '.join(models) or 'none spoke'}.")
    strip = Image.new("RGB", (width, sum(rows) + tiny * 2), _PAPER)
    pen = ImageDraw.Draw(strip)
    _fit(pen, (width // 2, rows[0] // 2), DISCLAIMER, warn, width - 20, WARNING, "mm")
    x, middle = text, rows[0] + rows[1] // 2
    for decision, label in (
        (Decision.PRESENT, "definite"),
        (Decision.DOUBTFUL, "doubtful"),
        (Decision.ABSENT, "none detected"),
        (None, "not assessed"),
    ):
        colour, thick, dashes = _style(decision)
        end = (x + text * 4, middle)
        _line(pen, (x, middle), end, colour, max(2, thick * 2 // 3), dashes and _halved(dashes))
        x = _label(pen, (int(end[0]) + text // 2, middle), label, text) + text
    if has_map(source):
        _scale(strip, (x, middle), text, width - x - text)
    _fit(pen, (text, rows[0] + rows[1] + tiny // 2), last, tiny, width - 2 * text, _DIM)
    return strip


def _halved(dashes: tuple[int, int]) -> tuple[int, int]:
    return max(3, dashes[0] // 2), max(3, dashes[1] // 2)


def _label(pen: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int) -> int:
    font = _font(size)
    pen.text(place, text, font=font, fill=_INK, anchor="lm")
    return place[0] + int(pen.textlength(text, font))


def _scale(strip: Image.Image, place: tuple[int, int], size: int, room: int) -> None:
    """Draw the scale of the heat map as it looks over mid grey: 0, the bar, 1."""
    pen = ImageDraw.Draw(strip)
    font = _font(size)
    words_px = int(pen.textlength("map 0  1 ", font))
    bar = room - words_px
    if bar < 40:
        return
    x = _label(pen, place, "map 0 ", size)
    level = np.tile(np.linspace(0.0, 1.0, bar), (size, 1))
    alpha = (_OPACITY * level)[..., None]
    bar_rgb = (alpha * colour_map(level) + (1 - alpha) * 110.0).round().astype(np.uint8)
    strip.paste(Image.fromarray(bar_rgb), (x, place[1] - size // 2))
    _label(pen, (x + bar + size // 3, place[1]), "1", size)
