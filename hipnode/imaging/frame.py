"""The first frame of an object as stored values, by the fastest decoder at hand that is exact."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from struct import Struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array

from hipnode.errors import PixelsUnreadable
from hipnode.imaging import codestream

Array = NDArray[Any]

_PREFERRED: Final = {
    uid.JPEGLSLossless: "pyjpegls",  # 4x faster than pylibjpeg, bit for bit the same
    uid.JPEGLSNearLossless: "pyjpegls",
    uid.RLELossless: "pydicom",  # pylibjpeg-rle panics at damaged data, past every `except`
}
_LOSSY: Final = frozenset(
    {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000, uid.HTJ2K}
)
_JPEG_LOSSLESS: Final = frozenset({uid.JPEGLossless, uid.JPEGLosslessSV1})
_JPEG_2000: Final = frozenset({uid.JPEG2000Lossless, uid.JPEG2000})
_HTJ2K: Final = frozenset({uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K})

_imagecodecs: Final[Any] = import_module("imagecodecs") if find_spec("imagecodecs") else None
_RLE_HEADER: Final = Struct("<16I")
_THREADS: Final = min(2, os.cpu_count() or 1)


def first_frame(dataset: Dataset, max_pixels: int, notes: list[str]) -> Array:
    """Return the stored values of the (first) frame.

    Returns
    -------
    numpy.ndarray
        (rows, columns) or (rows, columns, samples), in the type and sign that the header says.

    Raises
    ------
    PixelsUnreadable
        If there are no pixels, too many, or the compressed data contradict the header.
    """
    rows, columns = _check_size(dataset, max_pixels)
    frames = _whole(dataset, "NumberOfFrames", 1)
    if frames > 1:
        notes.append(f"The object has {frames} frames; only the first was assessed.")
    syntax = transfer_syntax(dataset)
    if not syntax.is_encapsulated:
        return _by_pydicom(dataset, frames, syntax)
    packed = get_frame(dataset.PixelData, 0, number_of_frames=frames)
    if syntax == uid.RLELossless:
        if (runs := _run_lengths(packed, rows, columns, dataset)) is not None:
            return runs
    else:
        code = codestream.bare(packed)
        samples = _whole(dataset, "SamplesPerPixel", 1)
        extent = codestream.check(code, rows, columns, samples, max_pixels)
        if (fast := _accelerated(code, extent, syntax, dataset)) is not None:
            return fast
        whole = codestream.mended(code)
        if whole is not code:
            notes.append("The compressed pixel data had a wrong scan header, which was mended.")
        if whole is not packed:
            dataset, frames = copy.copy(dataset), 1
            dataset.NumberOfFrames, dataset.PixelData = 1, encapsulate([whole])
    return _by_pydicom(dataset, frames, syntax)


def _check_size(dataset: Dataset, max_pixels: int) -> tuple[int, int]:
    rows, columns = _whole(dataset, "Rows", -1), _whole(dataset, "Columns", -1)
    if rows < 0 or columns < 0:
        raise PixelsUnreadable("The object has no usable Rows and Columns.")
    if rows < 1 or columns < 1:
        raise PixelsUnreadable("The image has no rows or no columns.")
    if rows * columns > max_pixels:
        raise PixelsUnreadable(f"The image has {rows} x {columns} pixels, more than allowed.")
    keywords = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
    if not any(keyword in dataset and dataset[keyword].value for keyword in keywords):
        raise PixelsUnreadable("The object holds no pixel data.")
    return rows, columns


def _whole(dataset: Dataset, keyword: str, otherwise: int) -> int:
    """Return a number of the header, ``otherwise`` where it is absent, empty or none."""
    try:
        value = dataset.get(keyword)
        return otherwise if value in (None, "") else int(value)
    except (ValueError, TypeError, OverflowError):
        return otherwise


def transfer_syntax(dataset: Dataset) -> uid.UID:
    """Return the transfer syntax; a file without meta gets the one that pydicom found it in."""
    meta = getattr(dataset, "file_meta", None)
    if meta is None:
        meta = dataset.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in meta:
        implicit, little = dataset.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    return uid.UID(meta.TransferSyntaxUID)


def _accelerated(
    code: bytes, extent: codestream.Extent, syntax: uid.UID, dataset: Dataset
) -> Array | None:
    """Decode with imagecodecs where it is installed and exact; None to leave it to pydicom.

    Only what leaves nothing to interpret: one unsigned sample.
    """
    if not extent.rows or extent.components != 1 or extent.signed or not _is_plain(dataset):
        return None
    stored = _whole(dataset, "BitsStored", 0)
    if extent.precision > stored and syntax in _LOSSY:
        return None
    decoder = _decoder(syntax)
    if decoder is None:
        return None
    try:
        array: Array = decoder(code)
    except RuntimeError:  # pydicom's plugins say more about what is wrong, and accept more
        return None
    if array.shape != (extent.rows, extent.columns) or array.dtype.kind != "u":
        return None
    return _stored_bits(array, stored) if extent.precision > stored else array


def _run_lengths(packed: bytes, rows: int, columns: int, dataset: Dataset) -> Array | None:
    """Decode RLE Lossless with imagecodecs where it is installed; None to leave it to pydicom.

    References
    ----------
    PS3.5 G.2 to G.5: a header of 16 numbers, then a segment for each byte of a sample, the highest
    first, as PackBits.
    """
    if _imagecodecs is None or not _imagecodecs.PACKBITS.available or not _is_plain(dataset):
        return None
    count, more = divmod(_whole(dataset, "BitsAllocated", 0), 8)
    if more or len(packed) < _RLE_HEADER.size or _whole(dataset, "SamplesPerPixel", 1) != 1:
        return None
    segments, *offsets = _RLE_HEADER.unpack_from(packed)
    if segments != count:
        return None
    starts = [*offsets[:count], len(packed)]
    values = np.empty((rows * columns, count), np.uint8)
    for place, (start, stop) in enumerate(pairwise(starts), start=1):
        plane = np.empty(rows * columns, np.uint8)  # more than this is not written
        try:
            found = _imagecodecs.packbits_decode(packed[start:stop], out=plane)
        except RuntimeError:  # pydicom says more about what is wrong, and accepts more
            return None
        if len(found) != len(plane):
            return None
        values[:, count - place] = plane
    return _stored_bits(
        values.view(f"<u{count}").reshape(rows, columns), _whole(dataset, "BitsStored", 0)
    )


def _is_plain(dataset: Dataset) -> bool:
    """Tell whether a sample is unsigned and has 16 bits at most."""
    stored, allocated = _whole(dataset, "BitsStored", 0), _whole(dataset, "BitsAllocated", 0)
    return not _whole(dataset, "PixelRepresentation", 0) and 1 <= stored <= allocated <= 16


def _stored_bits(array: Array, stored: int) -> Array:
    """Clear what lies above Bits Stored, which is no part of the value (PS3.5 8.1.1)."""
    np.bitwise_and(array, array.dtype.type(2**stored - 1), out=array)
    return array


def _decoder(syntax: uid.UID) -> Callable[[bytes], Array] | None:
    found: Callable[[bytes], Array] | None = None
    if _imagecodecs is None:
        return None
    if syntax in _JPEG_LOSSLESS and _imagecodecs.JPEG8.available:
        found = _imagecodecs.jpeg8_decode
    elif syntax in _HTJ2K and _imagecodecs.HTJ2K.available:
        found = _imagecodecs.htj2k_decode
    elif syntax in _JPEG_2000 and _imagecodecs.JPEG2K.available:
        found = partial(_imagecodecs.jpeg2k_decode, numthreads=_THREADS)
    return found


def _by_pydicom(dataset: Dataset, frames: int, syntax: uid.UID) -> Array:
    options: dict[str, Any] = {}
    lossy = syntax in _LOSSY
    preferred = _PREFERRED.get(syntax)
    grey = _whole(dataset, "SamplesPerPixel", 1) == 1
    if syntax == uid.JPEGBaseline8Bit and grey:
        preferred = "pillow"
    if preferred and preferred in get_decoder(syntax).available_plugins:
        options["decoding_plugin"] = preferred
    if lossy:
        # A lossy coder overshoots; without this the brightest bone would wrap round to black.
        options["correct_unused_bits"] = False
    frame: Array = pixel_array(dataset, index=0 if frames > 1 else None, **options)
    stored = _whole(dataset, "BitsStored", 16)
    if lossy and grey and frame.dtype.kind == "u" and stored < 8 * frame.dtype.itemsize:
        np.minimum(frame, frame.dtype.type(2**stored - 1), out=frame)
    return frame
