"""From a DICOM object to a `Radiograph`: the only place where LUTs and polarity are resolved."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydicom.dataset import Dataset

from hipnode.dicom.header import open_dicom, read_header
from hipnode.dicom.values import PARSE_ERRORS
from hipnode.domain import Header, Radiograph
from hipnode.errors import PixelsUnreadable
from hipnode.imaging.frame import first_frame
from hipnode.imaging.grey import first, text, to_unit

MAX_PIXELS: Final = 100_000_000


def load(path: Path, *, max_pixels: int = MAX_PIXELS) -> tuple[Header, Radiograph]:
    """Read and decode a DICOM file.

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
    return read_header(dataset), decode(dataset, max_pixels=max_pixels)


def decode(dataset: Dataset, *, max_pixels: int = MAX_PIXELS) -> Radiograph:
    """Decode the pixel data of a data set.

    Parameters
    ----------
    dataset
        As read from a file; its pixel data is still encoded.
    max_pixels
        An image with more pixels is refused before it is decoded.

    Returns
    -------
    Radiograph
        (rows, columns) float32 in [0, 1]: Modality LUT, VOI LUT or window, and polarity applied,
        so that bone is bright.

    Raises
    ------
    PixelsUnreadable
        If there are no pixels, too many, or they cannot be decoded.

    References
    ----------
    PS3.3 C.11.1 (Modality LUT), C.11.2 (VOI LUT), C.7.6.3.1.2 (Photometric Interpretation).
    """
    notes: list[str] = []
    try:
        stored = first_frame(dataset, max_pixels, notes)
        pixels = to_unit(stored, dataset, notes)
    except PARSE_ERRORS as error:
        raise PixelsUnreadable(
            "The pixel data cannot be decoded: they are damaged or do not fit the header "
            f"({type(error).__name__})."
        ) from error
    spacing, calibrated = _spacing(dataset)
    return Radiograph(pixels, spacing, calibrated, tuple(notes))


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


def _pair(dataset: Dataset, keyword: str) -> tuple[float, float] | None:
    try:
        row, column = (float(v) for v in dataset.get(keyword) or ())
    except PARSE_ERRORS:
        return None
    return (row, column) if 0.005 <= row <= 10 and 0.005 <= column <= 10 else None
