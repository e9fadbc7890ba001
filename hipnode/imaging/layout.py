"""How the header says that pixels are stored; what it leaves open or gets wrong is named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from hipnode.dicom.values import PARSE_ERRORS, value_of
from hipnode.errors import NotARadiograph, PixelsUnreadable

_PHOTOMETRIC: Final = frozenset(
    {
        "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422",
        "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT",
    }
)  # fmt: skip
"""PS3.3 C.7.6.3.1.2, without what is retired and has no decoder."""
MONOCHROME: Final = frozenset({"MONOCHROME1", "MONOCHROME2"})
_PIXELS: Final = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


@dataclass(frozen=True, slots=True)
class Layout:
    """The Image Pixel attributes that a decoder needs (PS3.3 C.7.6.3.3), each of them usable.

    ``stored`` bits of a sample lie below and at bit ``high`` of its ``allocated`` ones.
    """

    rows: int
    columns: int
    samples: int
    photometric: str
    allocated: int
    stored: int
    high: int
    signed: bool
    frames: int = 1

    @property
    def is_plain(self) -> bool:
        """Whether a pixel is one unsigned sample of 16 bits at most, with nothing to interpret."""
        return self.samples == 1 and not self.signed and self.allocated <= 16

    def described(self, dataset: Dataset) -> Dataset:
        """Return the data set with these attributes, for a decoder that believes the header.

        It has elements of its own: `copy.copy` of a data set shares them with the original.
        """
        out = Dataset()
        out.update(dataset)
        out.file_meta = dataset.file_meta
        if "PixelData" not in dataset:
            return out
        out.add_new("SamplesPerPixel", "US", self.samples)
        out.add_new("PhotometricInterpretation", "CS", self.photometric)
        out.add_new("BitsAllocated", "US", self.allocated)
        out.add_new("BitsStored", "US", self.stored)
        out.add_new("HighBit", "US", self.high)
        out.add_new("PixelRepresentation", "US", int(self.signed))
        out.add_new("NumberOfFrames", "IS", self.frames)
        if self.samples > 1 and whole(dataset, "PlanarConfiguration", -1) not in {0, 1}:
            out.add_new("PlanarConfiguration", "US", 0)
        return out


def layout_of(dataset: Dataset, max_pixels: int, notes: list[str]) -> Layout:
    """Return how the pixels of a data set are stored.

    Parameters
    ----------
    dataset
        The header.
    max_pixels
        An image with more is refused.
    notes
        What had to be assumed is appended here.

    Raises
    ------
    PixelsUnreadable
        If there are no pixels, too many, or an attribute without which they mean nothing.
    NotARadiograph
        If a pixel is one bit: black or white.
    """
    rows, columns = _size(dataset, max_pixels)
    if not any(keyword in dataset and dataset[keyword].value for keyword in _PIXELS):
        raise PixelsUnreadable("The object holds no pixel data.")
    samples = whole(dataset, "SamplesPerPixel", 1)
    if samples not in {1, 3, 4}:
        raise PixelsUnreadable(f"Samples per Pixel (0028,0002) is {samples}.")
    photometric = _photometric(dataset)
    frames = max(1, whole(dataset, "NumberOfFrames", 1))
    if "PixelData" not in dataset:
        bits = 32 if "FloatPixelData" in dataset else 64
        return Layout(rows, columns, 1, photometric, bits, bits, bits - 1, True, frames)
    allocated, stored, high = _bits(dataset, notes)
    signed = whole(dataset, "PixelRepresentation", 0) == 1
    return Layout(rows, columns, samples, photometric, allocated, stored, high, signed, frames)


def _size(dataset: Dataset, max_pixels: int) -> tuple[int, int]:
    rows, columns = whole(dataset, "Rows", -1), whole(dataset, "Columns", -1)
    if rows < 0 or columns < 0:
        raise PixelsUnreadable("The object has no usable Rows and Columns.")
    if rows < 1 or columns < 1:
        raise PixelsUnreadable("The image has no rows or no columns.")
    if rows * columns > max_pixels:
        raise PixelsUnreadable(f"The image has {rows} x {columns} pixels, more than allowed.")
    return rows, columns


def _photometric(dataset: Dataset) -> str:
    said = str(value_of(dataset, "PhotometricInterpretation") or "").strip("\0 ").upper()
    if not said:
        raise PixelsUnreadable(
            "The header has no Photometric Interpretation (0028,0004): whether high values are "
            "bright is not known."
        )
    if said not in _PHOTOMETRIC:
        raise PixelsUnreadable(
            f"The Photometric Interpretation (0028,0004) {said[:16]!r} is not known."
        )
    return said


def _bits(dataset: Dataset, notes: list[str]) -> tuple[int, int, int]:
    """Return Bits Allocated, Bits Stored and High Bit (PS3.5 8.1.1)."""
    allocated = whole(dataset, "BitsAllocated", 0)
    if allocated < 1:
        raise PixelsUnreadable("The header has no usable Bits Allocated (0028,0100).")
    stored = whole(dataset, "BitsStored", 0)
    if stored < 1:
        stored = allocated
        notes.append(f"The header gives no Bits Stored; {stored} were assumed.")
    if stored > allocated:
        raise PixelsUnreadable(
            f"Bits Stored (0028,0101) is {stored}, more than the {allocated} Bits Allocated."
        )
    if stored == 1:
        raise NotARadiograph("A pixel of the image is one bit: black or white.")
    high = whole(dataset, "HighBit", stored - 1)
    return allocated, stored, high if stored - 1 <= high < allocated else stored - 1


def values(container: NDArray[Any], layout: Layout, notes: list[str]) -> NDArray[Any]:
    """Return the stored values that lie in the bits of a container (PS3.5 8.1.1).

    Parameters
    ----------
    container
        (rows, columns) uint8, uint16 or uint32 of all allocated bits. It may be written to.
    layout
        Which of them are the value.
    notes
        A High Bit that the data contradict is appended here.
    """
    shift, bits = layout.high + 1 - layout.stored, 8 * container.dtype.itemsize
    if shift and _ends_low(container, layout.stored, shift):
        shift = 0
        notes.append("The High Bit of the header contradicts the pixel data and was not used.")
    if shift:
        container = container >> container.dtype.type(shift)
    if layout.signed:
        unused = container.dtype.type(bits - layout.stored)
        grown: NDArray[Any] = (container << unused).view(f"i{container.dtype.itemsize}")
        signed: NDArray[Any] = grown >> grown.dtype.type(unused)
        return signed
    if layout.stored < bits:
        mask = container.dtype.type(2**layout.stored - 1)
        if container.flags.writeable:
            np.bitwise_and(container, mask, out=container)
        else:
            container = container & mask
    return container


def _ends_low(container: NDArray[Any], stored: int, shift: int) -> bool:
    """Tell whether values fill the low bits and none of the high ones."""
    if int(container.max()) >= 2**stored:
        return False
    return bool((container & container.dtype.type(2**shift - 1)).any())


def whole(dataset: Dataset, keyword: str, otherwise: int) -> int:
    """Return a number of the header, ``otherwise`` where it is absent, empty or none."""
    try:
        value = dataset.get(keyword)
        return otherwise if value in (None, "") else int(value)
    except PARSE_ERRORS:
        return otherwise
