"""From a DICOM object to a `Radiograph`: the only place where LUTs and polarity are resolved."""

from __future__ import annotations

import math
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from hipnode.dicom import open_dicom, read_header
from hipnode.dicom.values import PARSE_ERRORS
from hipnode.domain import Header, Radiograph
from hipnode.errors import PixelsUnreadable
from hipnode.imaging.frame import stored_frame
from hipnode.imaging.grey import first, text, to_unit
from hipnode.imaging.layout import Layout, layout_of

MAX_PIXELS: Final = 100_000_000
_SPACINGS: Final = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_AT_ONCE: Final = 65_536
"""Pixels that are looked at together: they fit into the processor's cache."""
_SQUARE: Final = 0.01
"""Pixels whose height and width differ by no more than this share count as square."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A DICOM image whose frames are decoded as they are asked for."""

    header: Header
    dataset: Dataset
    layout: Layout
    max_pixels: int
    notes: tuple[str, ...]

    @property
    def frames(self) -> int:
        """How many frames the header says that there are."""
        return self.layout.frames

    def radiograph(self, index: int = 0) -> Radiograph:
        """Decode a frame.

        Parameters
        ----------
        index
            Of the frame, from 0.

        Returns
        -------
        Radiograph
            (rows, columns) float32 in [0, 1]: Modality LUT, VOI LUT or window, and polarity
            applied, so that bone is bright.

        Raises
        ------
        PixelsUnreadable
            If it cannot be decoded; the message says why.
        """
        dataset, notes = self.dataset, list(self.notes)
        try:
            stored = stored_frame(dataset, self.layout, index, self.max_pixels, notes)
            pixels = to_unit(stored, dataset, self.layout, notes)
        except PARSE_ERRORS as error:
            raise PixelsUnreadable(
                "The pixel data cannot be decoded: they are damaged or do not fit the header "
                f"({type(error).__name__})."
            ) from error
        spacing, calibrated = _spacing(dataset)
        aspect = _aspect(dataset, notes)
        return Radiograph(pixels, spacing, calibrated, tuple(notes), aspect)


def open_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> ImageFile:
    """Read a DICOM file, its pixels still encoded.

    Parameters
    ----------
    path
        A DICOM Part 10 file, or one without file meta.
    max_pixels
        An image with more pixels is refused before it is decoded.

    Raises
    ------
    NotDicom, HeaderUnusable
        If the file cannot be identified.
    PixelsUnreadable
        If it has no pixels that this node can decode; the message says why.
    """
    dataset = open_dicom(path, pixels=True)
    return _opened(read_header(dataset), dataset, max_pixels)


def _opened(header: Header, dataset: Dataset, max_pixels: int) -> ImageFile:
    notes: list[str] = []
    try:
        layout = layout_of(dataset, max_pixels, notes)
    except PARSE_ERRORS as error:
        raise PixelsUnreadable(
            f"The attributes of the pixel data are damaged ({type(error).__name__})."
        ) from error
    return ImageFile(header, dataset, layout, max_pixels, tuple(notes))


def load(path: Path, *, max_pixels: int = MAX_PIXELS) -> tuple[Header, Radiograph]:
    """Read and decode a DICOM file; of several frames, the first.

    Parameters
    ----------
    path, max_pixels
        As for `open_image`.

    Raises
    ------
    NotDicom, HeaderUnusable, PixelsUnreadable
        As `open_image` does.
    """
    opened = open_image(path, max_pixels=max_pixels)
    return opened.header, opened.radiograph()


def picture_digest(path: Path, *, max_pixels: int = MAX_PIXELS) -> str:
    """Return SHA-256 of the picture in a file: its size and every pixel, as `load` returns them.

    However it is compressed without loss, the same picture has the same digest.

    Parameters
    ----------
    path, max_pixels
        As for `open_image`.

    Raises
    ------
    NotDicom, HeaderUnusable, PixelsUnreadable
        As `open_image` does.
    """
    pixels = load(path, max_pixels=max_pixels)[1].pixels
    return sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def measured(radiograph: Radiograph) -> dict[str, float]:
    """Return what a picture is like as a whole: a scanner that changes shows in it.

    Parameters
    ----------
    radiograph
        The picture.

    Returns
    -------
    dict
        ``brightness`` and ``contrast``, the mean and the standard deviation of its pixels in
        [0, 1]; ``pixel_spacing`` between its rows in mm, where known.
    """
    pixels = radiograph.pixels
    brightness = float(pixels.mean())
    found = {"brightness": brightness, "contrast": _deviation(pixels, brightness)}
    if radiograph.spacing_mm is not None:
        found["pixel_spacing"] = float(radiograph.spacing_mm[0])
    return {name: round(value, 5) for name, value in found.items()}


def _deviation(pixels: NDArray[np.float32], mean: float) -> float:
    """Return the standard deviation, without a copy of the image."""
    flat, total = pixels.ravel(), 0.0
    for start in range(0, flat.size, _AT_ONCE):
        apart = flat[start : start + _AT_ONCE] - np.float32(mean)
        total += float(np.dot(apart, apart))
    return math.sqrt(total / max(1, flat.size))


def decode(dataset: Dataset, *, max_pixels: int = MAX_PIXELS) -> Radiograph:
    """Decode the pixel data of a data set; of several frames, the first.

    Parameters
    ----------
    dataset
        As read from a file; its pixel data is still encoded.
    max_pixels
        An image with more pixels is refused before it is decoded.

    Raises
    ------
    PixelsUnreadable
        If there are no pixels, too many, or they cannot be decoded.

    References
    ----------
    PS3.3 C.11.1 (Modality LUT), C.11.2 (VOI LUT), C.7.6.3.1.2 (Photometric Interpretation).
    """
    return _opened(Header("", "", ""), dataset, max_pixels).radiograph()


def _spacing(dataset: Dataset) -> tuple[tuple[float, float] | None, bool]:
    """Return (row, column) spacing in mm, and whether it is meant for the patient's plane.

    PS3.3 10.7: Pixel Spacing is calibrated only if it says so or differs from Imager Pixel
    Spacing; otherwise the detector's spacing is divided by the magnification, where known.
    """
    pixel, imager = _pair(dataset, "PixelSpacing"), _pair(dataset, "ImagerPixelSpacing")
    if pixel and (text(dataset, "PixelSpacingCalibrationType") or (imager and imager != pixel)):
        return pixel, True
    detector = imager or pixel
    magnification = first(dataset, "EstimatedRadiographicMagnificationFactor")
    if detector and magnification and 1.0 <= magnification <= 3.0:
        return (detector[0] / magnification, detector[1] / magnification), True
    return detector, False


def _aspect(dataset: Dataset, notes: list[str]) -> float | None:
    """Return a pixel's height over its width; None where two spacings contradict each other.

    PS3.3 C.7.6.3.1.7: Pixel Aspect Ratio counts only where no spacing is given.
    """
    spacings = {keyword: _positive(dataset, keyword) for keyword in _SPACINGS}
    said = {keyword: pair[0] / pair[1] for keyword, pair in spacings.items() if pair}
    ratio = _positive(dataset, "PixelAspectRatio")
    if not said:
        aspect = ratio[0] / ratio[1] if ratio else 1.0
    else:
        aspect = next(iter(said.values()))
        if any(not _alike(aspect, other) for other in said.values()):
            return None
        if ratio and not _alike(aspect, ratio[0] / ratio[1]):
            notes.append("The Pixel Aspect Ratio of the image contradicts its pixel spacing.")
    return 1.0 if _alike(aspect, 1.0) else aspect


def _alike(one: float, other: float) -> bool:
    return abs(one / other - 1) <= _SQUARE


def _positive(dataset: Dataset, keyword: str) -> tuple[float, float] | None:
    """Return a pair of numbers above 0, or None where there is none."""
    try:
        row, column = (float(v) for v in dataset.get(keyword) or ())
    except PARSE_ERRORS:
        return None
    return (row, column) if 0 < row < math.inf and 0 < column < math.inf else None


def _pair(dataset: Dataset, keyword: str) -> tuple[float, float] | None:
    """Return a pixel spacing, (row, column) in mm, where it is a likely one."""
    pair = _positive(dataset, keyword)
    return pair if pair and all(0.005 <= value <= 10 for value in pair) else None
