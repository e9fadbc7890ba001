"""A frame of an object as stored values, whatever wraps it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

from hipnode.dicom.values import PARSE_ERRORS
from hipnode.errors import PixelsUnreadable
from hipnode.imaging import codestream, decoders, wrapping
from hipnode.imaging.codestream import Coding
from hipnode.imaging.decoders import Array
from hipnode.imaging.layout import Layout, values

_CODED: Final[dict[Coding, tuple[uid.UID, ...]]] = {
    Coding.JPEG: (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit),
    Coding.JPEG_12: (uid.JPEGExtended12Bit,),
    Coding.JPEG_LOSSLESS: (uid.JPEGLosslessSV1, uid.JPEGLossless),
    Coding.JPEG_LS: (uid.JPEGLSNearLossless, uid.JPEGLSLossless),
    Coding.JPEG_2000: (uid.JPEG2000, uid.JPEG2000Lossless),
    Coding.HTJ2K: (uid.HTJ2K, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL),
    Coding.RLE: (uid.RLELossless,),
}
"""The transfer syntaxes of each coding, the one that says least first."""
_EOI: Final = b"\xff\xd9"
_COLOURS: Final = 3
_ANYTHING: Final = bytes(range(1, 255)) * 4
"""Noise without a marker (0xFF) in it."""


def stored_frame(
    dataset: Dataset, layout: Layout, index: int, max_pixels: int, notes: list[str]
) -> Array:
    """Return the stored values of a frame.

    Parameters
    ----------
    dataset
        With its pixel data, still encoded.
    layout
        How the header says that they are stored.
    index
        Of the frame, from 0.
    max_pixels
        A compressed image that has more is refused.
    notes
        What had to be mended or assumed is appended here.

    Returns
    -------
    numpy.ndarray
        (rows, columns) or (rows, columns, samples), in the type and sign that the header says.

    Raises
    ------
    PixelsUnreadable
        If the data break off or contradict the header.

    References
    ----------
    PS3.5 8 (Pixel Data), A.4 (encapsulated), G (RLE); PS3.3 C.7.6.3 (Image Pixel).
    """
    syntax = transfer_syntax(dataset)
    if not syntax.is_encapsulated:
        return _native(dataset, layout, index, syntax, notes)
    said = syntax
    code = codestream.bare(_wrapped(dataset, layout, index, said))
    syntax = _spoken(code, said, notes)
    if syntax == uid.RLELossless:
        return _runs(dataset, code, layout, notes)
    if said == uid.RLELossless:
        code = codestream.bare(_wrapped(dataset, layout, index, syntax))
    extent = codestream.check(code, layout.rows, layout.columns, layout.samples, max_pixels)
    code, is_whole = codestream.ended(code)
    believed = _believed(extent, layout, syntax, notes)
    stream = _Stream(dataset, believed, extent, syntax)
    array = stream.decode(code, notes) if is_whole else stream.decode_unended(code, notes)
    if believed.stored > layout.stored and believed.high == layout.high:
        return values(array, layout, notes)  # all bits of the container, the value among them
    return array


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


def _native(
    dataset: Dataset, layout: Layout, index: int, syntax: uid.UID, notes: list[str]
) -> Array:
    """Return a frame of uncompressed pixel data."""
    if "PixelData" not in dataset:
        return decoders.by_pydicom(dataset, layout, index, syntax)
    if layout.samples > 1:
        return _colours(decoders.by_pydicom(dataset, layout, index, syntax), layout, notes)
    asked = -(-layout.rows * layout.columns * layout.frames * layout.allocated // 8)
    there = len(dataset.PixelData)
    if there < asked:
        raise PixelsUnreadable(f"The pixel data break off: {there} bytes of {asked}.")
    if layout.frames == 1 and there >= 2 * asked:
        raise PixelsUnreadable(
            f"The pixel data have {there} bytes, {there / asked:.3g} times what Rows, Columns and "
            "Bits Allocated ask for, and the header gives no Number of Frames."
        )
    container = decoders.by_pydicom(dataset, _all_bits(layout), index, syntax)
    return values(container, layout, notes)


def _colours(frame: Array, layout: Layout, notes: list[str]) -> Array:
    """Return a frame of RGB as it lies, where the header plainly says that wrongly.

    A radiograph stored in colour is grey: its three samples are equal. Read by the wrong Planar
    Configuration (PS3.3 C.7.6.3.1.3) they are not, and the picture is three small ones.
    """
    if layout.photometric != "RGB" or frame.shape[-1] != _COLOURS or _is_grey(frame):
        return frame
    by_plane = frame.transpose(2, 0, 1).reshape(frame.shape)
    by_pixel = frame.reshape(_COLOURS, *frame.shape[:2]).transpose(1, 2, 0)
    for other in (by_plane, by_pixel):
        if _is_grey(other):
            notes.append("The Planar Configuration of the image is wrong; the samples tell.")
            return np.ascontiguousarray(other)
    return frame


def _is_grey(frame: Array) -> bool:
    first = frame[..., 0]
    return all(np.array_equal(first, frame[..., n]) for n in range(1, _COLOURS))


def _all_bits(layout: Layout) -> Layout:
    """Return the layout in which a sample is all of its allocated bits, unsigned."""
    bits = layout.allocated
    return replace(layout, stored=bits, high=bits - 1, signed=False)


def _runs(dataset: Dataset, packed: bytes, layout: Layout, notes: list[str]) -> Array:
    """Return a frame of RLE Lossless."""
    if layout.samples > 1:
        return decoders.alone(dataset, packed, layout, uid.RLELossless)
    container = decoders.run_lengths(packed, layout)
    if container is None:
        container = decoders.alone(dataset, packed, _all_bits(layout), uid.RLELossless)
    return values(container, layout, notes)


def _wrapped(dataset: Dataset, layout: Layout, index: int, syntax: uid.UID) -> bytes:
    return wrapping.frame(dataset, index, layout.frames, runs=syntax == uid.RLELossless)


def _spoken(code: bytes, said: uid.UID, notes: list[str]) -> uid.UID:
    """Return the transfer syntax of a codestream, where it plainly is another than was said."""
    found = codestream.coding_of(code)
    if found is None or said in _CODED[found]:
        return said
    notes.append(f"The compressed image is {found}, not {said.name}.")
    return _CODED[found][0]


def _believed(
    extent: codestream.Extent, layout: Layout, syntax: uid.UID, notes: list[str]
) -> Layout:
    """Return the layout of what a codestream holds, where the header says otherwise of it.

    The codestream is what the coder wrote; the header has often been copied from an older image.
    """
    if extent.components != layout.samples and extent.components in {1, 3}:
        notes.append(
            f"The compressed image has {extent.components} components a pixel, its header says "
            f"{layout.samples}."
        )
        colour = "YBR_RCT" if syntax in decoders.JPEG_2000 | decoders.HTJ2K else "YBR_FULL_422"
        photometric = "MONOCHROME2" if extent.components == 1 else colour
        layout = replace(layout, samples=extent.components, photometric=photometric)
    bits = extent.precision
    if layout.high + 1 > layout.stored and bits == layout.high + 1:
        return replace(layout, stored=bits, signed=False)
    narrow = bits <= 8 < layout.stored and syntax in decoders.JPEG
    if narrow or bits > layout.allocated:
        notes.append(f"The compressed image has {bits} bits a pixel, its header {layout.stored}.")
        allocated = 8 if bits <= 8 else 16
        return replace(layout, allocated=allocated, stored=bits, high=bits - 1)
    return layout


@dataclass(frozen=True, slots=True)
class _Stream:
    """What a compressed frame is decoded with."""

    dataset: Dataset
    layout: Layout
    extent: codestream.Extent
    syntax: uid.UID

    def decode(self, code: bytes, notes: list[str]) -> Array:
        """Return the values of a whole codestream."""
        fast = decoders.accelerated(code, self.extent, self.syntax, self.layout)
        if fast is not None:
            return fast
        mended = codestream.mended(code)
        if mended is not code:
            notes.append("The compressed pixel data had a wrong scan header, which was mended.")
        try:
            return self._slow(mended)
        except PARSE_ERRORS:
            tidy = codestream.tidied(mended)
            if self.syntax not in decoders.JPEG_LS or tidy == mended:
                raise
            notes.append("The compressed pixel data had stray zeros before their end.")
            return self._slow(tidy)

    def decode_unended(self, code: bytes, notes: list[str]) -> Array:
        """Return the values of a codestream without its end marker, if the picture is whole.

        Raises
        ------
        PixelsUnreadable
            If it is not, or that cannot be told.
        """
        try:
            if codestream.is_sequential(code):
                found = self._slow(codestream.mended(code + _EOI))
                # A decoder that has its whole picture does not look at what follows; one of
                # JPEG-LS refuses what is too short.
                if self.syntax in decoders.JPEG_LS or np.array_equal(
                    found, self._slow(codestream.mended(code + _ANYTHING + _EOI))
                ):
                    notes.append("The compressed pixel data had no end marker.")
                    return found
        except PARSE_ERRORS:
            pass
        raise PixelsUnreadable("The compressed pixel data break off before their end.")

    def _slow(self, code: bytes) -> Array:
        return decoders.alone(self.dataset, code, self.layout, self.syntax)
