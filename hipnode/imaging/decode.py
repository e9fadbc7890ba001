"""From stored pixel data to a `Radiograph`: the only place where LUTs and polarity are resolved."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Final

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

from hipnode.domain import Header, Radiograph
from hipnode.errors import PixelsUnreadable
from hipnode.imaging.header import open_dicom, read_header

MAX_PIXELS: Final = 100_000_000

_PREFERRED: Final = {
    "1.2.840.10008.1.2.4.80": "pyjpegls",  # 4x faster than pylibjpeg, bit for bit the same
    "1.2.840.10008.1.2.4.81": "pyjpegls",
}
_DECODE_ERRORS: Final = (
    ArithmeticError, AttributeError, AssertionError, BufferError, EOFError, LookupError,
    MemoryError, NotImplementedError, OSError, RuntimeError, TypeError, ValueError, struct.error,
)  # fmt: skip
"""What pydicom and its plugins raise at damaged pixel data; a crash ends the process instead."""

_Array = NDArray[Any]


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
    _check_size(dataset, max_pixels)
    try:
        stored = _first_frame(dataset, notes)
        grey = _grey(stored, dataset, notes)
        padding = _padding(grey, dataset)
        pixels = _to_unit(grey, dataset, padding, notes)
    except _DECODE_ERRORS as error:
        raise PixelsUnreadable(
            f"The pixel data cannot be decoded ({type(error).__name__})."
        ) from error
    if _is_inverted(dataset):
        # After windowing, about the middle of the range: pydicom 3.0 inverts about the maximum of
        # the data, which makes the grey level depend on the brightest pixel of the image.
        pixels = 1.0 - pixels
    if padding is not None:
        pixels[padding] = 0.0
    spacing, calibrated = _spacing(dataset)
    pixels = np.ascontiguousarray(pixels, dtype=np.float32)
    return Radiograph(pixels, spacing, calibrated, tuple(notes))


def _check_size(dataset: Dataset, max_pixels: int) -> None:
    if not any(keyword in dataset for keyword in ("PixelData", "FloatPixelData")):
        raise PixelsUnreadable("The object holds no pixel data.")
    try:
        rows, columns = int(dataset.Rows), int(dataset.Columns)
    except (AttributeError, TypeError, ValueError):
        raise PixelsUnreadable("The object has no usable Rows and Columns.") from None
    if rows < 1 or columns < 1:
        raise PixelsUnreadable("The image has no rows or no columns.")
    if rows * columns > max_pixels:
        raise PixelsUnreadable(f"The image has {rows} x {columns} pixels, more than allowed.")


def _first_frame(dataset: Dataset, notes: list[str]) -> _Array:
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        notes.append(f"The object has {frames} frames; only the first was assessed.")
    options: dict[str, Any] = {}
    syntax = _transfer_syntax(dataset)
    preferred = _PREFERRED.get(syntax)
    if preferred and preferred in get_decoder(UID(syntax)).available_plugins:
        options["decoding_plugin"] = preferred
    frame: _Array = pixel_array(dataset, index=0 if frames > 1 else None, **options)
    return frame


def _transfer_syntax(dataset: Dataset) -> str:
    """Return the transfer syntax; a file without meta gets the one that pydicom found it in."""
    meta = getattr(dataset, "file_meta", None)
    if meta is None:
        meta = dataset.file_meta = pydicom.dataset.FileMetaDataset()
    if "TransferSyntaxUID" not in meta:
        implicit, little = dataset.original_encoding
        little_endian = pydicom.uid.ImplicitVRLittleEndian if implicit else (
            pydicom.uid.ExplicitVRLittleEndian
        )  # fmt: skip
        meta.TransferSyntaxUID = little_endian if little else pydicom.uid.ExplicitVRBigEndian
    return str(meta.TransferSyntaxUID)


def _grey(frame: _Array, dataset: Dataset, notes: list[str]) -> _Array:
    photometric = str(dataset.get("PhotometricInterpretation", "")).upper()
    if photometric == "PALETTE COLOR":
        frame = apply_color_lut(frame, dataset)
    if frame.ndim == 3 and frame.shape[2] in {3, 4}:
        notes.append("The image is stored in colour and was turned to grey.")
        weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
        return np.asarray(frame[..., :3].astype(np.float32) @ weights)
    if frame.ndim != 2:
        raise ValueError("not a single two-dimensional frame")
    return frame


def _padding(grey: _Array, dataset: Dataset) -> NDArray[np.bool_] | None:
    """Return where Pixel Padding Value (PS3.3 C.7.5.1.1.2) says that there is no image."""
    value = dataset.get("PixelPaddingValue")
    if value is None or not np.issubdtype(grey.dtype, np.integer):
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((int(value), int(value if limit is None else limit)))
    mask = (grey >= low) & (grey <= high)
    return mask if mask.any() and not mask.all() else None


def _to_unit(
    grey: _Array, dataset: Dataset, padding: NDArray[np.bool_] | None, notes: list[str]
) -> NDArray[np.float32]:
    if dataset.get("ModalityLUTSequence"):
        grey = apply_modality_lut(grey, dataset)
    values = grey.astype(np.float32)
    if "RescaleSlope" in dataset and not dataset.get("ModalityLUTSequence"):
        values *= np.float32(dataset.RescaleSlope)
        values += np.float32(dataset.get("RescaleIntercept") or 0)
    unit = _voi(grey, values, dataset)
    if unit is not None and float(unit[:: max(1, unit.shape[0] // 64)].std()) > 1e-3:
        return unit
    if unit is not None:
        notes.append("The display window of the image shows nothing and was not used.")
    inside = values if padding is None else values[~padding]
    low, high = float(inside.min()), float(inside.max())
    if not np.isfinite([low, high]).all() or high <= low:
        raise PixelsUnreadable("The image is blank.")
    return (values - np.float32(low)) / np.float32(high - low)


def _voi(grey: _Array, values: NDArray[np.float32], dataset: Dataset) -> NDArray[np.float32] | None:
    """Apply the first VOI LUT or window (PS3.3 C.11.2); None where there is none that is usable."""
    if dataset.get("VOILUTSequence"):
        lut = dataset.VOILUTSequence[0]
        top = 2 ** int(lut.LUTDescriptor[2]) - 1
        source = grey if np.issubdtype(grey.dtype, np.integer) else np.rint(values).astype(np.int32)
        looked_up = apply_voi(source, dataset, index=0).astype(np.float32)
        return _unit(looked_up / np.float32(top))
    centre, width = _first(dataset, "WindowCenter"), _first(dataset, "WindowWidth")
    if centre is None or width is None or width <= 0:
        return None
    function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
    if function == "SIGMOID":
        return _unit(1 / (1 + np.exp(-4 * (values - centre) / width)))
    if function == "LINEAR":  # C.11.2.1.2.1; LINEAR_EXACT (C.11.2.1.3.2) has no such offsets
        centre, width = centre - 0.5, max(width - 1, 1e-3)
    return _unit((values - np.float32(centre)) / np.float32(width) + np.float32(0.5))


def _unit(values: _Array) -> NDArray[np.float32]:
    return np.asarray(np.clip(values, 0, 1), dtype=np.float32)


def _first(dataset: Dataset, keyword: str) -> float | None:
    try:
        value = dataset.get(keyword)
        if isinstance(value, (pydicom.multival.MultiValue, list)):
            value = value[0]
        return None if value is None else float(value)
    except (ValueError, TypeError, IndexError):
        return None


def _is_inverted(dataset: Dataset) -> bool:
    if str(dataset.get("PhotometricInterpretation", "")).upper() == "MONOCHROME1":
        return True
    return str(dataset.get("PresentationLUTShape", "")).upper() == "INVERSE"


def _spacing(dataset: Dataset) -> tuple[tuple[float, float] | None, bool]:
    """Return (row, column) spacing in mm, and whether it is meant for the patient's plane.

    PS3.3 10.7: Pixel Spacing is calibrated only if it says so or differs from Imager Pixel
    Spacing; otherwise the detector's spacing is divided by the magnification, where known.
    """
    pixel, imager = _pair(dataset, "PixelSpacing"), _pair(dataset, "ImagerPixelSpacing")
    if pixel and (dataset.get("PixelSpacingCalibrationType") or (imager and imager != pixel)):
        return pixel, True
    detector = imager or pixel
    magnification = _first(dataset, "EstimatedRadiographicMagnificationFactor")
    if detector and magnification and 1.0 <= magnification <= 3.0:
        return (detector[0] / magnification, detector[1] / magnification), True
    return detector, False


def _pair(dataset: Dataset, keyword: str) -> tuple[float, float] | None:
    try:
        row, column = (float(v) for v in dataset.get(keyword) or ())
    except (ValueError, TypeError):
        return None
    return (row, column) if 0.005 <= row <= 10 and 0.005 <= column <= 10 else None
