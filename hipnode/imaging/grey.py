"""From stored values to grey levels: Modality LUT, VOI LUT, polarity. Nowhere else."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_color_lut

from hipnode.dicom.values import PARSE_ERRORS, value_of
from hipnode.errors import PixelsUnreadable
from hipnode.imaging.display import Array, Grey, clipped, looked_up, shown
from hipnode.imaging.layout import Layout

_LUMA: Final = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_LINEAR: Final = (
    "The image is for processing, in linear intensities; its logarithm was taken, and no window."
)


def to_unit(stored: Array, dataset: Dataset, layout: Layout, notes: list[str]) -> Grey:
    """Turn stored values into grey levels with bright bone.

    Parameters
    ----------
    stored
        (rows, columns) or (rows, columns, samples), as stored.
    dataset
        The header that says how to show them.
    layout
        How they were stored.
    notes
        What had to be assumed or mended is appended here.

    Returns
    -------
    numpy.ndarray
        (rows, columns) float32 in [0, 1]; padding is 0.

    Raises
    ------
    PixelsUnreadable
        If the image is blank.

    References
    ----------
    PS3.3 C.11.1 (Modality LUT), C.11.2 (VOI LUT; neither is for colour), C.7.6.3.1.2 (Photometric
    Interpretation), C.7.5.1.1.2 (Pixel Padding), C.8.11.3.1.2 (Pixel Intensity Relationship).
    """
    palette = layout.photometric == "PALETTE COLOR"
    if palette or stored.ndim == 3:
        return _of_colour(apply_color_lut(stored, dataset) if palette else stored, notes)
    if stored.ndim != 2:
        raise ValueError("not a single two-dimensional frame")
    if stored.dtype.kind == "f":
        stored = np.nan_to_num(stored, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)
    padding = _padding(stored, dataset, layout)
    unit = _of_grey(stored, dataset, padding, notes)
    if padding is not None:
        unit[padding] = 0.0
    return np.ascontiguousarray(unit, dtype=np.float32)


def _of_colour(frame: Array, notes: list[str]) -> Grey:
    """Turn colours to grey: they are what is to be seen, and no LUT or window is for them."""
    if frame.ndim != 3 or frame.shape[2] not in {3, 4}:
        raise ValueError("not a colour image")
    notes.append("The image is stored in colour and was turned to grey.")
    grey = np.asarray(frame[..., :3].astype(np.float32) @ _LUMA)
    low, high = float(grey.min()), float(grey.max())
    if high <= low:
        raise PixelsUnreadable("The image is blank.")
    return clipped((grey - np.float32(low)) / np.float32(high - low))


def _of_grey(
    stored: Array, dataset: Dataset, padding: NDArray[np.bool_] | None, notes: list[str]
) -> Grey:
    values, inverted = _modality(stored, dataset, notes), _is_inverted(dataset, notes)
    inside = values.ravel() if padding is None else values[~padding]
    if _is_linear(dataset):
        notes.append(_LINEAR)
        return _attenuation(values, inside, inverted=inverted)
    unit = shown(values, dataset, inside, notes)
    if inverted:
        # After windowing, about the middle of the range: pydicom 3.0 inverts about the maximum of
        # the data, which makes the grey level depend on the brightest pixel of the image.
        np.subtract(np.float32(1), unit, out=unit)
    return unit


def _is_linear(dataset: Dataset) -> bool:
    """Tell whether values are proportional to the X-ray intensity, and not meant to be shown."""
    return (
        text(dataset, "PresentationIntentType") == "FOR PROCESSING"
        and text(dataset, "PixelIntensityRelationship") == "LIN"
    )


def _attenuation(values: Array, inside: Array, *, inverted: bool) -> Grey:
    """Return what X-rays went through, from linear intensities: their logarithm, bone bright.

    ``inverted``: higher values are more intensity.
    """
    low, high = float(inside.min()), float(inside.max())
    if not math.isfinite(high - low) or high <= low:
        raise PixelsUnreadable("The image is blank.")
    dark, bright = np.float32(min(low, 0.0)), np.float32(high)

    def dense(of: Array) -> Grey:
        floats = of.astype(np.float32)
        intensity = floats - dark if inverted else bright - floats
        return np.asarray(-np.log(np.maximum(intensity, 0) + np.float32(1)), dtype=np.float32)

    least, most = np.percentile(dense(inside[:: max(1, inside.size // 65_536)]), (0.1, 99.9))
    return clipped((dense(values) - np.float32(least)) / np.float32(max(most - least, 1e-6)))


def _padding(stored: Array, dataset: Dataset, layout: Layout) -> NDArray[np.bool_] | None:
    """Return where Pixel Padding Value (PS3.3 C.7.5.1.1.2) says that there is no image.

    Writers take the wrong one of its two VRs; the value then is off by all allocated bits.
    """
    value, limit = first(dataset, "PixelPaddingValue"), first(dataset, "PixelPaddingRangeLimit")
    if value is None or not np.issubdtype(stored.dtype, np.integer):
        return None
    ends = (_fitting(int(v), layout) for v in (value, value if limit is None else limit))
    low, high = sorted(ends)
    mask = (stored >= low) & (stored <= high)
    return mask if mask.any() and not mask.all() else None


def _fitting(value: int, layout: Layout) -> int:
    """Return a value as one that pixels can have, where a wrong sign put it out of their range."""
    half = 2 ** (layout.stored - 1)
    lowest, highest = (-half, half - 1) if layout.signed else (0, 2 * half - 1)
    if lowest <= value <= highest:
        return value
    turns = (layout.allocated, layout.stored) if layout.signed else (layout.allocated,)
    others = (value + sign * 2**bits for bits in turns for sign in (-1, 1))
    return next((v for v in others if lowest <= v <= highest), value)


def _modality(grey: Array, dataset: Dataset, notes: list[str]) -> Array:
    """Apply the Modality LUT, or Rescale Slope and Intercept (PS3.3 C.11.1), if there is one."""
    if dataset.get("ModalityLUTSequence"):
        return looked_up(grey, dataset.ModalityLUTSequence[0], dataset)[0]
    if "RescaleSlope" not in dataset and "RescaleIntercept" not in dataset:
        return grey
    slope, intercept = first(dataset, "RescaleSlope"), first(dataset, "RescaleIntercept")
    if slope in (None, 0.0):
        if "RescaleSlope" in dataset:
            notes.append("The Rescale Slope of the image is unusable; 1 was assumed.")
        slope = 1.0
    if slope == 1.0 and not intercept:
        return grey
    return grey.astype(np.float32) * np.float32(slope) + np.float32(intercept or 0.0)


def _is_inverted(dataset: Dataset, notes: list[str]) -> bool:
    inverted = (
        text(dataset, "PhotometricInterpretation") == "MONOCHROME1"
        or text(dataset, "PresentationLUTShape") == "INVERSE"
    )
    if text(dataset, "PresentationIntentType") == "FOR PROCESSING":
        # Sign 1: higher values are more X-ray intensity, and so less bone.
        sign = first(dataset, "PixelIntensityRelationshipSign")
        if sign is not None and (sign > 0) != inverted:
            notes.append("The image is for processing; its polarity was taken from its sign.")
            return sign > 0
    return inverted


def text(dataset: Dataset, keyword: str) -> str:
    """Return a coded string in upper case; empty where it is absent or unusable."""
    value = value_of(dataset, keyword)
    return "" if value is None else str(value).strip("\0 ").upper()


def first(dataset: Dataset, keyword: str) -> float | None:
    """Return the first value of a number as a finite float; None where there is none."""
    try:
        value = dataset.get(keyword)
        if isinstance(value, (MultiValue, list)):
            value = value[0]
        number = math.nan if value in (None, "") else float(value)
    except PARSE_ERRORS:
        return None
    return number if math.isfinite(number) else None
