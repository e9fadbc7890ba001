"""Where the hips are, and whose side each one is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hipnode.domain import Abstention, AbstentionReason, Box, Header, HipROI, Side
from hipnode.imaging import preprocess
from hipnode.nets import LoadedModel
from hipnode.reading.classify import preprocessing

_INSIDE: Final = 0.5
_SMALLEST_AREA: Final = 0.006
"""Of the padded square: a hip in a pelvis image covers two to eight per cent of it."""
_APART: Final = 0.22
"""Two hips' centres lie at least this far apart, as a fraction of the square's edge."""
_LEVEL: Final = 0.25
"""and no further than this apart in height."""

CONVENTION: Final = (
    "The header does not say which way the image faces: the patient's right was taken to be on "
    "the viewer's left."
)


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


def candidates(pixels: NDArray[np.float32], localiser: LoadedModel) -> list[Candidate]:
    """Run the localiser and return what may be hips, the best first.

    Parameters
    ----------
    pixels
        (rows, columns) float32 in [0, 1], upright.

    References
    ----------
    Murphy 2022, Methods (CNN1: each connected contour of the network's mask becomes a box).
    """
    how = preprocessing(localiser.spec)
    mask = localiser.engine.run(preprocess(pixels, how)[np.newaxis])["mask"][0, 0]
    # A gap of a pixel or two must not split a hip in half.
    labels, count = ndimage.label(ndimage.binary_closing(mask >= _INSIDE, iterations=2))
    found = []
    for index, slices in enumerate(ndimage.find_objects(labels, max_label=count), start=1):
        inside = labels[slices] == index
        area = float(inside.sum()) / mask.size
        if area < _SMALLEST_AREA:
            continue
        box = _to_original(slices, mask.shape[0], pixels.shape)
        if box is not None:
            found.append(Candidate(box, float(mask[slices][inside].mean()), area))
    return sorted(found, key=lambda c: c.score * c.area, reverse=True)


def _to_original(slices: tuple[slice, slice], mask_px: int, shape: tuple[int, ...]) -> Box | None:
    """Map a box of the padded, square mask to the image's own pixels; None if it lies outside."""
    rows, columns = shape
    square = max(rows, columns)
    top, left = (square - rows) // 2, (square - columns) // 2
    scale = square / mask_px
    y0, y1 = (round(v * scale) - top for v in (slices[0].start, slices[0].stop))
    x0, x1 = (round(v * scale) - left for v in (slices[1].start, slices[1].stop))
    x0, x1 = max(0, x0), min(columns, x1)
    y0, y1 = max(0, y0), min(rows, y1)
    return Box(x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def hips(
    found: list[Candidate], header: Header, shape: tuple[int, ...], *, turned: bool
) -> tuple[list[HipROI], Abstention | None, tuple[str, ...]]:
    """Choose the hips among the candidates and say whose side each is.

    Parameters
    ----------
    found
        The best first.
    shape
        (rows, columns) of the upright image.
    turned
        Whether the image had to be turned upright, so that Patient Orientation (PS3.3 C.7.6.1.1.1)
        does not describe it any more.

    Returns
    -------
    rois, abstention, notes
        Either hips, the patient's right first, or a reason why there are none.
    """
    if not found:
        return [], Abstention(AbstentionReason.HIP_NOT_FOUND), ()
    pair = _pair(found, max(shape))
    if pair is None:
        return _single(found[0], header)
    image_left, image_right = sorted(pair, key=lambda c: c.centre[0])
    first = header.patient_orientation[0].upper()[:1] if header.patient_orientation else ""
    known = first in {"L", "R"} and not turned
    # Patient Orientation's first value is the direction in which columns go: L, towards the
    # patient's left, so that the patient's right is on the viewer's left.
    flipped = known and first == "R"
    right, left = (image_right, image_left) if flipped else (image_left, image_right)
    rois = [_roi(Side.RIGHT, right), _roi(Side.LEFT, left)]
    return rois, None, () if known else (CONVENTION,)


def _pair(found: list[Candidate], square_px: int) -> tuple[Candidate, Candidate] | None:
    first = found[0]
    for other in found[1:]:
        dx = abs(first.centre[0] - other.centre[0]) / square_px
        dy = abs(first.centre[1] - other.centre[1]) / square_px
        if dx >= _APART and dy <= _LEVEL and other.area > first.area / 5:
            return first, other
    return None


def _single(
    only: Candidate, header: Header
) -> tuple[list[HipROI], Abstention | None, tuple[str, ...]]:
    if header.laterality not in {"R", "L"}:
        detail = "one hip in the image, and no Laterality in its header"
        return [], Abstention(AbstentionReason.SIDE_UNKNOWN, detail), ()
    note = "Only one hip was found in the image; the other was not assessed."
    return [_roi(Side(header.laterality), only)], None, (note,)


def _roi(side: Side, candidate: Candidate) -> HipROI:
    return HipROI(side, candidate.box, round(candidate.score, 4))
