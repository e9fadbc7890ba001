"""The fastest decoder at hand that is exact, for one frame whose layout is known."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from struct import Struct
from typing import Any, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array

from hipnode.imaging import jpeg
from hipnode.imaging.codestream import Extent
from hipnode.imaging.layout import Layout

Array = NDArray[Any]

JPEG_LOSSLESS: Final = frozenset({uid.JPEGLossless, uid.JPEGLosslessSV1})
JPEG: Final = JPEG_LOSSLESS | {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit}
JPEG_LS: Final = frozenset({uid.JPEGLSLossless, uid.JPEGLSNearLossless})
JPEG_2000: Final = frozenset({uid.JPEG2000Lossless, uid.JPEG2000})
HTJ2K: Final = frozenset({uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K})
_PREFERRED: Final = {
    **dict.fromkeys(jpeg.DECODER_DEPENDENCIES, jpeg.NAME),
    uid.JPEGBaseline8Bit: "pillow",
    uid.JPEGLSLossless: "pyjpegls",
    uid.JPEGLSNearLossless: "pyjpegls",
    uid.RLELossless: "pydicom",  # pylibjpeg-rle, where there, panics past every `except`
}
_LOSSY: Final = frozenset(
    {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000, uid.HTJ2K}
)

jpeg.register()

_RLE_HEADER: Final = Struct("<16I")
_THREADS: Final = min(2, os.cpu_count() or 1)


def accelerated(code: bytes, extent: Extent, syntax: uid.UID, layout: Layout) -> Array | None:
    """Decode with imagecodecs where it is exact; None to leave it to pydicom.

    Only what leaves nothing to interpret: one unsigned sample.

    Parameters
    ----------
    code, extent, syntax
        A whole codestream, what it says of itself, and its transfer syntax.
    layout
        What is expected of it.
    """
    if not extent.rows or extent.components != 1 or extent.signed or not layout.is_plain:
        return None
    if extent.precision > layout.stored and syntax in _LOSSY:
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
    if extent.precision > layout.stored:  # what lies above is no part of the value (PS3.5 8.1.1)
        np.bitwise_and(array, array.dtype.type(2**layout.stored - 1), out=array)
    return array


def _decoder(syntax: uid.UID) -> Callable[[bytes], Array] | None:
    found: Callable[[bytes], Array] | None = None
    if syntax in JPEG_LOSSLESS and imagecodecs.JPEG8.available:
        found = imagecodecs.jpeg8_decode
    elif syntax in HTJ2K and imagecodecs.HTJ2K.available:
        found = imagecodecs.htj2k_decode
    elif syntax in JPEG_2000 and imagecodecs.JPEG2K.available:
        found = partial(imagecodecs.jpeg2k_decode, numthreads=_THREADS)
    return found


def run_lengths(packed: bytes, layout: Layout) -> Array | None:
    """Decode RLE Lossless with imagecodecs; None where to leave it to pydicom.

    Parameters
    ----------
    packed
        The stream of one frame.
    layout
        Of one sample a pixel; all allocated bits are returned, unsigned.

    References
    ----------
    PS3.5 G.2 to G.5: a header of 16 numbers, then a segment for each byte of a sample, the highest
    first, as PackBits.
    """
    if not imagecodecs.PACKBITS.available or layout.allocated > 16:
        return None
    pixels = layout.rows * layout.columns
    count, more = divmod(layout.allocated, 8)
    if more or len(packed) < _RLE_HEADER.size:
        return None
    segments, *offsets = _RLE_HEADER.unpack_from(packed)
    if segments != count:
        return None
    starts = [*offsets[:count], len(packed)]
    planes = np.empty((pixels, count), np.uint8)
    for place, (start, stop) in enumerate(pairwise(starts), start=1):
        plane: Any = np.empty(pixels, np.uint8)  # more than this is not written
        try:
            found = imagecodecs.packbits_decode(packed[start:stop], out=plane)
        except RuntimeError:  # pydicom says more about what is wrong, and accepts more
            return None
        if len(found) != len(plane):
            return None
        planes[:, count - place] = plane
    container: Array = planes.view(f"<u{count}").reshape(layout.rows, layout.columns)
    return container


def alone(dataset: Dataset, code: bytes, layout: Layout, syntax: uid.UID) -> Array:
    """Decode a compressed frame with pydicom, as the only one of its object.

    Parameters
    ----------
    dataset
        Its header.
    code
        The stream of the frame.
    layout, syntax
        What is expected of it, and its transfer syntax.
    """
    layout = replace(layout, frames=1)
    frame = layout.described(dataset)
    frame.file_meta = FileMetaDataset()
    frame.file_meta.TransferSyntaxUID = syntax  # of the frame, whatever is said of the object
    frame.add_new("PixelData", "OB", encapsulate([code]))
    frame["PixelData"].is_undefined_length = True
    return by_pydicom(frame, layout, 0, syntax)


def by_pydicom(dataset: Dataset, layout: Layout, index: int, syntax: uid.UID) -> Array:
    """Decode a frame with pydicom's plugins.

    Parameters
    ----------
    dataset
        With its pixel data.
    layout
        What the plugins are told of them.
    index
        Of the frame, from 0.
    syntax
        The transfer syntax.
    """
    options: dict[str, Any] = {}
    lossy = syntax in _LOSSY
    preferred = _PREFERRED.get(syntax)
    grey = layout.samples == 1
    if preferred and preferred in get_decoder(syntax).available_plugins:
        options["decoding_plugin"] = preferred
    if lossy:
        # A lossy coder overshoots; without this the brightest bone would wrap round to black.
        options["correct_unused_bits"] = False
    frame: Array = pixel_array(layout.described(dataset), index=index, **options)
    stored = layout.stored
    if lossy and grey and frame.dtype.kind == "u" and stored < 8 * frame.dtype.itemsize:
        np.minimum(frame, frame.dtype.type(2**stored - 1), out=frame)
    return frame
