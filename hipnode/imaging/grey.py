"""From stored values to grey levels: Modality LUT, VOI LUT, polarity. Nowhere else."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_color_lut

from hipnode.dicom.values import PARSE_ERRORS, value_of
from hipnode.errors import PixelsUnreadable

Array = NDArray[Any]
Grey = NDArray[np.float32]

_LUMA: Final = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_FLAT: Final = 1e-3
"""An image whose grey levels deviate by less than this shows nothing."""


def to_unit(stored: Array, dataset: Dataset, notes: list[str]) -> Grey:
    """Turn stored values into grey levels with bright bone.

    Parameters
    ----------
    stored
        (rows, columns) or (rows, columns, samples), as stored.
    dataset
        The header that says how to show them.
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
    PS3.3 C.11.1 (Modality LUT), C.11.2 (VOI LUT), C.7.6.3.1.2 (Photometric Interpretation),
    C.7.5.1.1.2 (Pixel Padding), C.8.11.3.1.2 (Pixel Intensity Relationship).
    """
    grey = _one_channel(stored, dataset, notes)
    padding = _padding(grey, dataset)
    unit = _windowed(grey, dataset, padding, notes)
    if _is_inverted(dataset, notes):
        # After windowing, about the middle of the range: pydicom 3.0 inverts about the maximum of
        # the data, which makes the grey level depend on the brightest pixel of the image.
        np.subtract(np.float32(1), unit, out=unit)
    if padding is not None:
        unit[padding] = 0.0
    return np.ascontiguousarray(unit, dtype=np.float32)


def _one_channel(frame: Array, dataset: Dataset, notes: list[str]) -> Array:
    photometric = text(dataset, "PhotometricInterpretation")
    if photometric == "PALETTE COLOR":
        frame = apply_color_lut(frame, dataset)
    if frame.ndim == 3 and frame.shape[2] in {3, 4}:
        notes.append("The image is stored in colour and was turned to grey.")
        return np.asarray(frame[..., :3].astype(np.float32) @ _LUMA)
    if frame.ndim != 2:
        raise ValueError("not a single two-dimensional frame")
    if frame.dtype.kind == "f":
        return np.nan_to_num(frame, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)
    return frame


def _padding(grey: Array, dataset: Dataset) -> NDArray[np.bool_] | None:
    """Return where Pixel Padding Value (PS3.3 C.7.5.1.1.2) says that there is no image."""
    value, limit = first(dataset, "PixelPaddingValue"), first(dataset, "PixelPaddingRangeLimit")
    if value is None or not np.issubdtype(grey.dtype, np.integer):
        return None
    low, high = sorted((int(value), int(value if limit is None else limit)))
    mask = (grey >= low) & (grey <= high)
    return mask if mask.any() and not mask.all() else None


def _windowed(
    grey: Array, dataset: Dataset, padding: NDArray[np.bool_] | None, notes: list[str]
) -> Grey:
    values = _modality(grey, dataset, notes)
    shown = _voi(values, dataset, notes)
    if shown is not None:
        step = max(1, shown.shape[0] // 64)
        if float((shown if padding is None else shown[~padding])[::step].std()) > _FLAT:
            return shown
        notes.append("The display window of the image shows nothing and was not used.")
    inside = values if padding is None else values[~padding]
    low, high = float(inside.min()), float(inside.max())
    if not math.isfinite(high - low) or high <= low:
        raise PixelsUnreadable("The image is blank.")
    return _clipped((values - np.float32(low)) / np.float32(high - low))


def _modality(grey: Array, dataset: Dataset, notes: list[str]) -> Array:
    """Apply the Modality LUT, or Rescale Slope and Intercept (PS3.3 C.11.1), if there is one."""
    if dataset.get("ModalityLUTSequence"):
        return _looked_up(grey, dataset.ModalityLUTSequence[0], dataset)[0]
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


def _voi(values: Array, dataset: Dataset, notes: list[str]) -> Grey | None:
    """Apply the first VOI LUT or window (PS3.3 C.11.2); None where there is none that is usable."""
    if dataset.get("VOILUTSequence"):
        try:
            shown, top = _looked_up(values, dataset.VOILUTSequence[0], dataset)
            return _clipped(shown / np.float32(top))
        except PARSE_ERRORS:
            notes.append("The VOI LUT of the image is unusable and was not applied.")
    centre, width = first(dataset, "WindowCenter"), first(dataset, "WindowWidth")
    if centre is None or width is None or width <= 0:
        return None
    function = text(dataset, "VOILUTFunction") or "LINEAR"
    floats = values.astype(np.float32)
    if function == "SIGMOID":
        exponent = np.clip(-4 * (floats - np.float32(centre)) / np.float32(width), -60, 60)
        return _clipped(1 / (1 + np.exp(exponent)))
    if function != "LINEAR_EXACT":  # C.11.2.1.2.1; LINEAR_EXACT has no such offsets
        centre, width = centre - 0.5, max(width - 1, 1e-3)
    floats -= np.float32(centre - width / 2)
    floats /= np.float32(width)
    return np.clip(floats, 0, 1, out=floats)


def _looked_up(values: Array, item: Dataset, dataset: Dataset) -> tuple[Grey, float]:
    """Apply a look-up table (PS3.3 C.11.1.1.1, C.11.2.1.1); return it and its highest output.

    pydicom 3.0 wraps round in tables of 8 bits with more than 256 entries and refuses 12 bits.
    """
    entries, start, bits = (int(v) for v in item.LUTDescriptor)
    entries = entries or 65_536
    if start > 32_767 and values.dtype.kind != "u":
        start -= 65_536  # PS3.3 C.11.1.1.1: the second value is signed where the pixels are
    data = item.LUTData
    if isinstance(data, bytes):
        narrow = len(data) < 2 * entries
        order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
        table = np.frombuffer(data, "u1" if narrow else f"{order}u2")[:entries]
    else:
        table = np.asarray(data)[:entries]
    if not 8 <= bits <= 16 or table.size < 2:
        raise ValueError("not a look-up table")
    whole = values if values.dtype.kind in "iu" else np.rint(values)
    index = np.clip(whole.astype(np.int64) - start, 0, table.size - 1)
    return table.astype(np.float32)[index], float(2**bits - 1)


def _clipped(values: Array) -> Grey:
    return np.asarray(np.clip(values, 0, 1), dtype=np.float32)


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
