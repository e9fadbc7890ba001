"""Preprocessing: from a radiograph, or a region of it, to what a network takes in.

It exists once, here, with numpy and Pillow alone: training wraps `preprocess` as a MONAI transform,
so that training and serving cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hipnode.domain import Box, Side

SAMPLE_PX: Final = 65_536
"""Percentiles are taken from about this many pixels on a regular grid: exact enough, and quick."""
_GAP: Final = 3.0
"""Pillow shrinks by whole factors first, to no less than so many times the size that is wanted: far
quicker, and no visible change."""
REGIONS: Final = {"hip": (0.0, 0.0, 1.0, 1.0), "proximal_femur": (0.16, 0.07, 0.88, 0.77)}
"""By name, the part of a right hip's box that a network sees: x0, y0, x1, y1 in shares of it.

The box is Murphy's. The proximal femur is what Jang 2022 (Fig. 4) and Yamamoto 2020 (2.3) crop:
socket's roof to a length of the lesser trochanter below its tip. The shares are means over
simulated hips; a test holds them against the landmarks.
"""


@dataclass(frozen=True, slots=True)
class PreprocessSpec:
    """How pixels become a network's input. It travels in the bundle.

    Attributes
    ----------
    size_px
        The side of the square input.
    clip_low_percent, clip_high_percent
        Percentiles of the (cropped) image that become 0 and 1; what lies outside is clipped.
    scaling
        ``unit`` leaves [0, 1]; ``zscore`` subtracts the mean and divides by the standard
        deviation of the input; ``zclip`` does so after clipping to 2 sigma; ``two_sigma`` divides
        by 2 sigma and clips at -1 and 1 (Jang 2022, "Training details").
    keep_aspect
        True pads the shorter edge to a square (with the image's low clip) before resampling.
    crop_margin
        What is added around an ROI's box on every side, as a fraction of its longer edge.
    region
        The part of an ROI's box that is cut out, one of `REGIONS`.
    flip_left_to_right
        Left hips are mirrored, so that a network sees right hips only.
    """

    size_px: int
    clip_low_percent: float = 0.5
    clip_high_percent: float = 99.5
    scaling: Literal["unit", "zscore", "zclip", "two_sigma"] = "zscore"
    keep_aspect: bool = True
    crop_margin: float = 0.0
    flip_left_to_right: bool = False
    region: str = "hip"

    def __post_init__(self) -> None:
        if self.region not in REGIONS:
            raise ValueError(f"region {self.region!r} is none of {', '.join(REGIONS)}")
        if not 0 <= self.clip_low_percent < self.clip_high_percent <= 100:
            raise ValueError("the clip percentiles are not in order")
        if not 8 <= self.size_px <= 4096:
            raise ValueError("size_px must be from 8 to 4096")

    def mirrors(self, side: Side) -> bool:
        """Tell whether a hip of the canonical picture is mirrored before the network sees it.

        There the left hip is the one on the viewer's right (see `imaging.canonical`); in an image
        as stored, a side tells nothing of how the hip looks.
        """
        return self.flip_left_to_right and side is Side.LEFT


def part_of(box: Box, region: str, *, mirrored: bool = False) -> Box:
    """Return a region of a hip's box, in the same pixels.

    Parameters
    ----------
    box
        Murphy's, of a hip that looks like a right one.
    region
        One of `REGIONS`.
    mirrored
        The hip looks like a left one.
    """
    x0, y0, x1, y1 = REGIONS[region]
    if mirrored:
        x0, x1 = 1 - x1, 1 - x0
    left, top, width, height = box.x0, box.y0, box.width_px, box.height_px
    return Box(
        round(left + x0 * width), round(top + y0 * height),
        round(left + x1 * width), round(top + y1 * height),
    )  # fmt: skip


def resample(pixels: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resample with an antialiased bilinear filter.

    Parameters
    ----------
    pixels
        (rows, columns) float32.
    size
        The (rows, columns) to return.

    Returns
    -------
    NDArray[np.float32]
        (rows, columns) of ``size``; the image's corners stay where they are.
    """
    if pixels.shape == size:
        return pixels
    return _shrunk(_pillow(pixels), size)


def _pillow(pixels: NDArray[np.float32]) -> Image.Image:
    """Return pixels as Pillow has them."""
    return Image.fromarray(np.ascontiguousarray(pixels, dtype=np.float32))


def _shrunk(image: Image.Image, size: tuple[int, int]) -> NDArray[np.float32]:
    resized = image.resize((size[1], size[0]), Image.Resampling.BILINEAR, reducing_gap=_GAP)
    return np.asarray(resized, dtype=np.float32)


def _shrunk_square(image: Image.Image, size_px: int) -> NDArray[np.float32]:
    """Return an image, padded to a square and shrunk, without padding it in its own size."""
    side = max(image.size)
    factor = int(side / size_px / _GAP) or 1  # as Pillow chooses it
    edge = side / factor
    resized = _squared(image, factor).resize(
        (size_px, size_px), Image.Resampling.BILINEAR, box=(0, 0, edge, edge)
    )
    return np.asarray(resized, dtype=np.float32)


def _squared(image: Image.Image, factor: int) -> Image.Image:
    """Return an image as it is when padded to a square and then reduced by a whole factor.

    Blocks of pixels that lie within the image are reduced where they are; only those that the
    padding shares are cut out of it.
    """
    side = max(image.size)
    left, top = (side - image.width) // 2, (side - image.height) // 2
    out = Image.new("F", (-(-side // factor),) * 2)
    if factor == 1:
        out.paste(image, (left, top))
        return out
    across, down = (
        _spans(before, length, side, factor)
        for before, length in ((left, image.width), (top, image.height))
    )
    for (x0, x1), (y0, y1) in product(across, down):
        box = (x0, y0, x1, y1)
        if min(x0, y0) < 0 or x1 > image.width or y1 > image.height:
            part = image.crop(box).reduce(factor)  # black (0) outside
        else:
            part = image.reduce(factor, box)
        out.paste(part, ((left + x0) // factor, (top + y0) // factor))
    return out


def _spans(before: int, length: int, side: int, factor: int) -> Iterator[tuple[int, int]]:
    """Return how an edge is divided where blocks of the padded one begin, in its own pixels.

    What is whole blocks of the image is one span; a block that it shares with the padding before or
    after it is another.
    """
    end = before + length
    last = min(-(-end // factor) * factor, side)
    cuts = {-(before % factor), -before % factor, end // factor * factor - before, last - before}
    return pairwise(sorted(cuts))


class Squares:
    """The squares of one image that networks are shown: each is cut and shrunk once for all.

    Parameters
    ----------
    pixels
        (rows, columns) float32 in [0, 1]. They must not change any more.
    """

    def __init__(self, pixels: NDArray[np.float32]) -> None:
        self.pixels = pixels
        self._image: Image.Image | None = None
        self._cut: dict[tuple[Box, float], Image.Image] = {}
        self._small: dict[tuple[tuple[Box, float] | None, int], NDArray[np.float32]] = {}

    def whole(self, size_px: int) -> NDArray[np.float32]:
        """Return the image, padded to a square (`pad_to_square`): (size_px, size_px) float32."""
        return self._at(None, size_px)

    def part(self, box: Box, margin: float, size_px: int) -> NDArray[np.float32]:
        """Return the square around a box (`crop`): (size_px, size_px) float32.

        Parameters
        ----------
        box, margin
            As for `crop`.
        size_px
            The edge that is wanted.
        """
        return self._at((box, margin), size_px)

    def _at(self, cut: tuple[Box, float] | None, size_px: int) -> NDArray[np.float32]:
        if (cut, size_px) not in self._small:
            self._small[cut, size_px] = (
                _shrunk_square(self._whole(), size_px)
                if cut is None
                else _shrunk(self._cropped(*cut), (size_px, size_px))
            )
        return self._small[cut, size_px]

    def resized(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """Return the whole image as `resample` does: (rows, columns) float32 of ``size``."""
        return self.pixels if self.pixels.shape == size else _shrunk(self._whole(), size)

    def _whole(self) -> Image.Image:
        if self._image is None:
            self._image = _pillow(self.pixels)
        return self._image

    def _cropped(self, box: Box, margin: float) -> Image.Image:
        if (box, margin) not in self._cut:
            x0, y0, side = square_around(box, margin)
            self._cut[box, margin] = self._whole().crop((x0, y0, x0 + side, y0 + side))
        return self._cut[box, margin]  # black (0) outside


def crop(pixels: NDArray[np.float32], box: Box, margin: float = 0.0) -> NDArray[np.float32]:
    """Cut a square around a box; what lies outside of the image is black (0).

    Parameters
    ----------
    pixels
        (rows, columns) float32.
    box
        In the pixels of the image.
    margin
        Added on every side, as a fraction of the box's longer edge.

    Returns
    -------
    NDArray[np.float32]
        (n, n), centred on the box, with n its longer edge and twice the margin.
    """
    x0, y0, side = square_around(box, margin)
    out = np.zeros((side, side), dtype=np.float32)
    rows, columns = pixels.shape
    top, left = max(0, y0), max(0, x0)
    bottom, right = min(rows, y0 + side), min(columns, x0 + side)
    if top < bottom and left < right:
        out[top - y0 : bottom - y0, left - x0 : right - x0] = pixels[top:bottom, left:right]
    return out


def square_around(box: Box, margin: float) -> tuple[int, int, int]:
    """Return ``(x0, y0, side)`` of the square that `crop` cuts; it may leave the image.

    Parameters
    ----------
    box
        In the pixels of the image.
    margin
        Added on every side, as a fraction of the box's longer edge.
    """
    longer = max(box.width_px, box.height_px)
    side = max(1, round(longer * (1 + 2 * margin)))
    x0 = round((box.x0 + box.x1 - side) / 2)
    y0 = round((box.y0 + box.y1 - side) / 2)
    return x0, y0, side


def pad_to_square(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pad the shorter edge of a (rows, columns) float32 image with black (0) to a square."""
    rows, columns = pixels.shape
    side = max(rows, columns)
    if rows == columns:
        return pixels
    out = np.zeros((side, side), dtype=np.float32)
    top, left = (side - rows) // 2, (side - columns) // 2
    out[top : top + rows, left : left + columns] = pixels
    return out


def percentiles(pixels: NDArray[np.float32], low: float, high: float) -> tuple[float, float]:
    """Return two percentiles of an image, from a regular grid of its pixels.

    Parameters
    ----------
    pixels
        (rows, columns) float32.
    low, high
        From 0 to 100.
    """
    step = max(1, int(np.sqrt(pixels.size / SAMPLE_PX)))
    lower, upper = np.percentile(pixels[::step, ::step], (low, high))
    return float(lower), float(upper)


def preprocess(
    pixels: NDArray[np.float32] | Squares,
    spec: PreprocessSpec,
    box: Box | None = None,
    *,
    mirror: bool = False,
) -> NDArray[np.float32]:
    """Turn an image, or the region in ``box``, into a network's input.

    Parameters
    ----------
    pixels
        (rows, columns) float32, bright bone; `Squares` where several networks see one image.
    spec
        What the network was trained with.
    box
        The region in the image's pixels; None for the whole image.
    mirror
        Mirror left and right (a left hip for a network with ``flip_left_to_right``).

    Returns
    -------
    NDArray[np.float32]
        (1, size_px, size_px).

    References
    ----------
    Jang 2022, "Training details" (``two_sigma``).
    """
    shown = pixels if isinstance(pixels, Squares) else Squares(pixels)
    if box is not None:
        part = part_of(box, spec.region, mirrored=mirror)
        small = shown.part(part, spec.crop_margin, spec.size_px)
    elif spec.keep_aspect:
        small = shown.whole(spec.size_px)
    else:
        small = resample(shown.pixels, (spec.size_px, spec.size_px))
    low, high = percentiles(small, spec.clip_low_percent, spec.clip_high_percent)
    out = np.clip((small - low) / max(high - low, 1e-6), 0.0, 1.0).astype(np.float32)
    if spec.scaling == "zclip":
        mean, deviation = float(out.mean()), float(out.std())
        out = np.clip(out, mean - 2 * deviation, mean + 2 * deviation)
    if spec.scaling == "two_sigma":
        out = np.clip((out - out.mean()) / max(2 * float(out.std()), 1e-6), -1.0, 1.0)
    elif spec.scaling != "unit":
        out = (out - out.mean()) / max(float(out.std()), 1e-6)
    if mirror:
        out = out[:, ::-1]
    return np.ascontiguousarray(out[np.newaxis], dtype=np.float32)
