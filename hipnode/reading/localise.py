"""Where the hips are, and whose side each one is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hipnode.domain import Abstention, AbstentionReason, Box, Header, HipROI, Radiograph, Side, View
from hipnode.imaging import PreprocessSpec, Squares, preprocess, square_around
from hipnode.nets import LoadedModel
from hipnode.reading.classify import preprocessing
from hipnode.reading.sides import Facing
from hipnode.reading.verdict import SideIs

_INSIDE: Final = 0.5
_REACH: Final = 0.7
"""An edge of a box lies where this share of the region's rows (or columns) has ended: the outline
is rough, and the box around all of it is too large by three per cent at each edge. Chosen on
validation phantoms: 0.6 to 0.7 are alike there (mean Jaccard 0.90; around the whole region 0.88),
and 0.7 is nearest to what the gates after it were tried with."""
_AROUND_PX: Final = 3
"""As far beyond a region its profile is followed down."""
_SMALLEST_AREA: Final = 0.006
"""Of the padded square: a hip in a pelvis image covers two to eight per cent of it."""
_APART: Final = 0.22
"""Two hips' centres lie at least this far apart, as a fraction of the square's edge."""
_LEVEL: Final = 0.25
"""and no further than this apart in height."""

_NARROWEST: Final = 0.6
_WIDEST: Final = 1.5
"""A whole hip's box is 0.65 to 1 of its height wide: narrower where the image's edge cuts it,
wider where two hips run together."""
_EDGE: Final = 0.01
_WHOLE: Final = 0.85
"""In a view of one hip, a box at the picture's side, narrower than this, is the other hip's."""
_SECOND: Final = 0.9
"""In a view of one hip, what the localiser scores lower beside the hip is no second one: of real
hips it scores 0.9 or more, and edges of the other hip and folds of skin mostly less."""
_OF_A_PELVIS: Final = 0.27
"""An adult's hip takes at least this share of the longer edge of a film of the pelvis (0.304 or
more on 119 of them); of a child's abdomen or whole body it takes less (0.22)."""
_BRIDGE: Final = 0.4
"""What joins two hips in the mask is less than this of their height."""
_CLOSEST: Final = 0.15
"""Between the boxes of an adult's hips lies at least a quarter of their width (measured on real
pelves: 0.24 to 1); a child's touch, and what is no pelvis overlaps."""
_SMALLEST_MM: Final = 80.0
"""An adult's box is 110 to 170 mm high; below this it is a child's."""
_SMALLEST_FIELD_MM: Final = 150.0
"""An image of a pelvis that claims to be smaller has a wrong spacing, which then says nothing."""

_OFF_CENTRE: Final = 0.06
"""A single hip nearer to the middle than this share of the width tells no side by its place."""

ONE_HIP: Final = "Only one hip was found in the image; the other was not assessed."
ONE_OF_TWO: Final = "This is a pelvis, and a hip was found on one side only."
SIDES_DISAGREE: Final = "Laterality in the header contradicts where the hip lies in the image."


@dataclass(frozen=True, slots=True)
class Candidate:
    """A region that may be a hip, in original pixels."""

    box: Box
    score: float
    area: float  # fraction of the padded square

    @property
    def centre(self) -> tuple[float, float]:
        """``(x, y)`` in original pixels."""
        return (self.box.x0 + self.box.x1) / 2, (self.box.y0 + self.box.y1) / 2


def candidates(pixels: NDArray[np.float32] | Squares, localiser: LoadedModel) -> list[Candidate]:
    """Run the localiser and return what may be hips, the best first.

    Parameters
    ----------
    pixels
        (rows, columns) float32 in [0, 1], upright, or `Squares` of them.

    References
    ----------
    Murphy 2022, Methods (CNN1: each connected contour of the network's mask becomes a box).
    """
    how = preprocessing(localiser.spec)
    shown = pixels if isinstance(pixels, Squares) else Squares(pixels)
    if "box" in localiser.spec.outputs:
        return _by_halves(shown, localiser, how)
    mask = localiser.engine.run(preprocess(shown, how)[np.newaxis])["mask"][0, 0]
    found = []
    for part in _regions(mask):
        area = float(part.sum()) / mask.size
        if area < _SMALLEST_AREA:
            continue
        (slices,) = ndimage.find_objects(part.astype(np.uint8))
        box = _to_original(_edges(mask, part, slices), mask.shape[0], shown.pixels.shape)
        if box is not None:
            found.append(Candidate(box, float(mask[part].mean()), area))
    return sorted(found, key=lambda c: c.score * c.area, reverse=True)


def _by_halves(shown: Squares, localiser: LoadedModel, how: PreprocessSpec) -> list[Candidate]:
    """Return the box that a regression gives for each half of the image (Gale 2017, 2.3)."""
    rows, columns = shown.pixels.shape
    middle = columns // 2
    halves = (Box(0, 0, middle, rows), False), (Box(columns - middle, 0, columns, rows), True)
    batch = np.stack([preprocess(shown, how, half, mirror=mirror) for half, mirror in halves])
    found = []
    shares = localiser.engine.run(batch)["box"]
    for (half, mirror), share in zip(halves, shares, strict=True):
        left, top, side = square_around(half, how.crop_margin)
        across = (1 - share[2], 1 - share[0]) if mirror else (share[0], share[2])
        xs = [round(min(max(left + float(x) * side, 0), columns)) for x in across]
        ys = [round(min(max(top + float(y) * side, 0), rows)) for y in (share[1], share[3])]
        if xs[0] < xs[1] and ys[0] < ys[1]:
            box = Box(xs[0], ys[0], xs[1], ys[1])
            area = box.width_px * box.height_px / max(rows, columns) ** 2
            found.append(Candidate(box, 1.0, area))
    return found


def _regions(mask: NDArray[np.float32]) -> Iterator[NDArray[np.bool_]]:
    """Yield the connected regions of a mask; one in which two hips touch is cut at its waist."""
    # A gap of a pixel or two must not split a hip in half.
    labels, count = ndimage.label(ndimage.binary_closing(mask >= _INSIDE, iterations=2))
    for index, (rows, columns) in enumerate(ndimage.find_objects(labels, max_label=count), start=1):
        whole = labels == index
        width, height = columns.stop - columns.start, rows.stop - rows.start
        if width <= _WIDEST * height:
            yield whole
            continue
        filled = np.where(whole, mask, 0).sum(axis=0)[columns]
        middle = slice(width * 3 // 10, width * 7 // 10)
        waist = columns.start + middle.start + int(np.argmin(filled[middle]))
        bridge = np.zeros(mask.shape[1], dtype=bool)  # too thin to be of a hip
        bridge[columns] = filled < _BRIDGE * filled.max()
        for side in (slice(None, waist), slice(waist, None)):
            part = np.zeros_like(whole)
            part[:, side] = whole[:, side] & ~bridge[side]
            yield part


Edges = tuple[float, float, float, float]
"""y0, y1, x0, x1 in a mask's pixels; the first pixel reaches from 0 to 1."""


def _edges(
    mask: NDArray[np.float32], part: NDArray[np.bool_], slices: tuple[slice, slice]
) -> Edges:
    """Return where most of a region ends, to fractions of a mask's pixel.

    References
    ----------
    Murphy 2022, Methods: "As FCN ROIs were rough-edged, they were converted to a rectangular shape
    by post-processing contour detection".
    """
    near = np.where(ndimage.binary_dilation(part, iterations=_AROUND_PX), mask, 0)
    rows, columns = slices
    y0, y1 = _span(np.quantile(near[:, columns], _REACH, axis=1), rows)
    x0, x1 = _span(np.quantile(near[rows], _REACH, axis=0), columns)
    return y0, y1, x0, x1


def _span(profile: NDArray[np.float64], whole: slice) -> tuple[float, float]:
    """Return where a profile rises through the threshold and where it falls below it at last."""
    inside = np.flatnonzero(profile >= _INSIDE)
    if not inside.size:  # a region of no such shape
        return float(whole.start), float(whole.stop)
    first, last = int(inside[0]), int(inside[-1])
    start, stop = float(first), float(last + 1)
    if first > 0:
        start = first - 0.5 + _part_way(profile[first - 1], profile[first])
    if last < len(profile) - 1:
        stop = last + 1.5 - _part_way(profile[last + 1], profile[last])
    return start, stop


def _part_way(below: float, above: float) -> float:
    """Return how far from ``below`` to ``above`` the threshold lies."""
    return float((_INSIDE - below) / (above - below))


def _to_original(edges: Edges, mask_px: int, shape: tuple[int, ...]) -> Box | None:
    """Map a box of the padded, square mask to the image's own pixels; None if it lies outside."""
    rows, columns = shape
    square = max(rows, columns)
    top, left = (square - rows) // 2, (square - columns) // 2
    scale = square / mask_px
    y0, y1 = (round(v * scale) - top for v in edges[:2])
    x0, x1 = (round(v * scale) - left for v in edges[2:])
    x0, x1 = max(0, x0), min(columns, x1)
    y0, y1 = max(0, y0), min(rows, y1)
    return Box(x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


@dataclass(frozen=True, slots=True)
class Found:
    """The hips of an image, or why there are none."""

    rois: list[HipROI] = field(default_factory=list)  # the patient's right first
    abstention: Abstention | None = None
    side: SideIs = SideIs.KNOWN
    missing: Side | None = None  # the side of a pelvis on which none was found
    notes: tuple[str, ...] = ()


def hips(
    found: list[Candidate], header: Header, shape: tuple[int, ...], facing: Facing, view: View
) -> Found:
    """Choose the hips among the candidates and say whose side each is.

    Parameters
    ----------
    found
        The best first.
    header
        Of the image.
    shape
        (rows, columns) of the canonical picture.
    facing
        How sure it is that the patient's right is on the viewer's left in it.
    view
        As the gate tells it.
    """
    if not found:
        return Found(abstention=Abstention(AbstentionReason.HIP_NOT_FOUND))
    if view is not View.PELVIS:  # the other hip only begins at the edge, and nobody asked about it
        found = [one for one in found if not _begins(one, shape)] or found
        found = [one for one in found if one is found[0] or one.score >= _SECOND]
    pair = _pair(found, max(shape))
    if pair is None:
        return _single(found[0], header, shape, view, facing)
    rois = _right_first(pair)
    if too_close := _too_close(*(roi.box for roi in rois)):
        return Found(abstention=too_close)
    return Found(rois, None, facing.side, None, facing.notes)


def both(found: Sequence[Candidate], shape: tuple[int, ...]) -> list[HipROI]:
    """Return two whole, clear hips that lie as in a pelvis, the patient's right first; else none.

    Parameters
    ----------
    found
        What the localiser takes for hips.
    shape
        (rows, columns) of the canonical picture.
    """
    pair = _pair(found, max(shape))
    if pair is None or any(c.score < _SECOND or _shape(c.box) is not Shape.WHOLE for c in pair):
        return []
    return _right_first(pair)


def fills_a_film(roi: HipROI, shape: tuple[int, ...]) -> bool:
    """Tell whether a hip is as large as an adult's on a film (rows, columns) of the pelvis."""
    return roi.box.height_px >= _OF_A_PELVIS * max(shape)


def _right_first(pair: tuple[Candidate, Candidate]) -> list[HipROI]:
    image_left, image_right = sorted(pair, key=lambda c: c.centre[0])
    return [_roi(Side.RIGHT, image_left), _roi(Side.LEFT, image_right)]


def _begins(one: Candidate, shape: tuple[int, ...]) -> bool:
    """Tell whether a region is cut off at the side of the picture (rows, columns)."""
    at_edge = one.box.x0 <= _EDGE * shape[1] or one.box.x1 >= (1 - _EDGE) * shape[1]
    return at_edge and one.box.width_px < _WHOLE * one.box.height_px


def _pair(found: Sequence[Candidate], square_px: int) -> tuple[Candidate, Candidate] | None:
    """Return the best two regions that lie as two hips do: apart, level, of a size."""
    pairs = [
        (one, other)
        for one, other in combinations(found, 2)
        if abs(one.centre[0] - other.centre[0]) >= _APART * square_px
        and abs(one.centre[1] - other.centre[1]) <= _LEVEL * square_px
        and other.area * 5 > one.area > other.area / 5
    ]
    weight = [one.score * one.area + other.score * other.area for one, other in pairs]
    return pairs[int(np.argmax(weight))] if pairs else None


def _too_close(image_left: Box, image_right: Box) -> Abstention | None:
    width_px = (image_left.width_px + image_right.width_px) / 2
    gap = (image_right.x0 - image_left.x1) / width_px
    if gap >= _CLOSEST:
        return None
    detail = f"the two regions found lie {gap:.2f} of their width apart, as in no adult's pelvis"
    return Abstention(AbstentionReason.NOT_ADULT, detail)


def _single(
    only: Candidate,
    header: Header,
    shape: tuple[int, ...],
    view: View,
    facing: Facing,
) -> Found:
    """Return the one hip that was found: its side by the header, else by where it lies."""
    place = _side_by_place(only, shape)
    said = Side(header.laterality) if header.laterality in {"R", "L"} else None
    side, looks_like = said or place, None
    # Where a hip lies in a view of one hip is a hint; on a pelvis it is as good as the convention.
    by_place = facing.side if view is View.PELVIS else SideIs.UNSURE
    sureness, notes = SideIs.KNOWN if said else by_place, facing.notes
    if said and place is not Side.UNKNOWN and place is not said and view is View.PELVIS:
        sureness, notes, looks_like = SideIs.UNSURE, (*notes, SIDES_DISAGREE), place
    roi = replace(_roi(side, only), looks_like=looks_like)
    if view is View.PELVIS and side is not Side.UNKNOWN:
        return Found([roi], None, sureness, side.opposite, (*notes, ONE_OF_TWO))
    told = () if said else notes
    return Found([roi], None, sureness, None, (*told, ONE_HIP))


def _side_by_place(only: Candidate, shape: tuple[int, ...]) -> Side:
    """Return whose side a single hip is, by the half of the canonical picture that it lies in."""
    off_centre = only.centre[0] / shape[1] - 0.5
    if abs(off_centre) < _OFF_CENTRE:
        return Side.UNKNOWN
    return Side.RIGHT if off_centre < 0 else Side.LEFT


class Shape(StrEnum):
    """What a box of the upright image holds, by its shape."""

    WHOLE = "whole"  # one whole hip
    PART = "part"  # of a hip: the image's edge cuts it
    TWO = "two"  # hips, run together


def shape_of(roi: HipROI) -> Shape:
    """Tell whether a box of the (upright) image is that of one whole hip."""
    return _shape(roi.box)


def _shape(box: Box) -> Shape:
    share = box.width_px / box.height_px
    if share < _NARROWEST:
        return Shape.PART
    return Shape.WHOLE if share <= _WIDEST else Shape.TWO


def unlike_an_adult(roi: HipROI, upright: Radiograph) -> Abstention | None:
    """Return an abstention for a hip that is too small to be an adult's, where that is known.

    The header's age is often missing; a child's hip has growth plates that look like fractures.
    """
    spacing_mm = upright.spacing_mm
    if spacing_mm is None or upright.rows * spacing_mm[0] < _SMALLEST_FIELD_MM:
        return None
    height_mm = roi.box.height_px * spacing_mm[0]
    if height_mm >= _SMALLEST_MM:
        return None
    detail = f"the hip's box is {height_mm:.0f} mm high, too small for an adult"
    return Abstention(AbstentionReason.NOT_ADULT, detail)


def _roi(side: Side, candidate: Candidate) -> HipROI:
    return HipROI(side, candidate.box, round(candidate.score, 4))
