"""How grey values are meant to be shown, where that shows anything: one judgement for all.

References
----------
PS3.3 C.11.2 (VOI LUT, windows; several are alternatives), C.11.2.1.1 (LUT Descriptor), C.11.2.1.2
(window functions).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from hipnode.dicom.values import PARSE_ERRORS, items_of, value_of
from hipnode.errors import PixelsUnreadable

Array = NDArray[Any]
Grey = NDArray[np.float32]

_BINS: Final = 64
_ENOUGH: Final = 0.7
"""A transform is used if it leaves this share of what the data's own range tells (entropy of a
histogram of 64 bins). Windows of real radiographs left 0.97 and more; on phantoms, one that clips
a quarter of the hip leaves 0.87, half of it 0.67, one for 8 bits 0.2, an 8th of the range 0.33."""
_SAMPLE: Final = 65_536
_LOW_TOP: Final = 4.0
"""A LUT whose highest output is so many times below its stated bits was made for fewer of them."""


def shown(values: Array, dataset: Dataset, inside: Array, notes: list[str]) -> Grey:
    """Return grey levels as the first VOI LUT or window shows them that shows something.

    Parameters
    ----------
    values
        (rows, columns) after the Modality LUT.
    dataset
        The header.
    inside
        The values that are not padding, (n,).
    notes
        What was not used is appended here.

    Returns
    -------
    numpy.ndarray
        (rows, columns) float32 in [0, 1].

    Raises
    ------
    PixelsUnreadable
        If the image is blank.
    """
    sample = inside[:: max(1, inside.size // _SAMPLE)]
    own = _Own(inside)
    told = _entropy(own(sample))
    for name, transform in _transforms(dataset, notes):
        try:
            tells = _entropy(transform(sample))
        except PARSE_ERRORS:
            notes.append(f"The {name} of the image is unusable and was not applied.")
            continue
        if tells >= _ENOUGH * told:
            return transform(values)
        notes.append(f"The {name} of the image shows next to nothing and was not used.")
    return own(values)


def _entropy(levels: Grey) -> float:
    """Return how much a picture tells, in bits: 0 for one level, 6 for 64 alike often."""
    counts = np.bincount((levels.ravel() * (_BINS - 1e-3)).astype(np.intp), minlength=_BINS)
    shares = counts[counts > 0] / max(1, levels.size)
    return float(-(shares * np.log2(shares)).sum())


class _Own:
    """The whole range of the data, from black to white."""

    def __init__(self, inside: Array) -> None:
        self.low, self.high = float(inside.min()), float(inside.max())
        if not math.isfinite(self.high - self.low) or self.high <= self.low:
            raise PixelsUnreadable("The image is blank.")

    def __call__(self, values: Array) -> Grey:
        low, reach = np.float32(self.low), np.float32(self.high - self.low)

        def transform(part: Array, out: Grey) -> None:
            out[...] = clipped((part - low) / reach)

        return _piecewise(transform, values)


class _Lut:
    """A VOI LUT, scaled to [0, 1]."""

    def __init__(self, item: Dataset, dataset: Dataset) -> None:
        self.item, self.dataset = item, dataset

    def __call__(self, values: Array) -> Grey:
        output, top = looked_up(values, self.item, self.dataset)
        return clipped(output / np.float32(top))


class _Window:
    """A window with its function."""

    def __init__(self, centre: float, width: float, function: str) -> None:
        if function not in {"SIGMOID", "LINEAR_EXACT"}:  # LINEAR, PS3.3 C.11.2.1.2.1
            centre, width = centre - 0.5, max(width - 1, 1e-3)
        self.centre, self.width, self.function = centre, width, function

    def __call__(self, values: Array) -> Grey:
        return _piecewise(self._applied, values)

    def _applied(self, part: Array, out: Grey) -> None:
        out[...] = part
        if self.function == "SIGMOID":
            exponent = -4 * (out - np.float32(self.centre)) / np.float32(self.width)
            out[...] = clipped(1 / (1 + np.exp(np.clip(exponent, -60, 60))))
            return
        out -= np.float32(self.centre - self.width / 2)
        out /= np.float32(self.width)
        np.clip(out, 0, 1, out=out)


def _transforms(dataset: Dataset, notes: list[str]) -> Iterator[tuple[str, _Lut | _Window]]:
    """Yield the display transforms of a header, in the order in which they are offered."""
    if dataset.get("VOILUTSequence") and not items_of(dataset, "VOILUTSequence"):
        notes.append("The VOI LUT of the image is unusable and was not applied.")
    for item in items_of(dataset, "VOILUTSequence"):
        yield "VOI LUT", _Lut(item, dataset)
    function = str(value_of(dataset, "VOILUTFunction") or "LINEAR").strip("\0 ").upper()
    centres, widths = _numbers(dataset, "WindowCenter"), _numbers(dataset, "WindowWidth")
    for centre, width in zip(centres, widths, strict=False):
        if centre is not None and width is not None and width > 0:
            yield "display window", _Window(centre, width, function)


def _numbers(dataset: Dataset, keyword: str) -> list[float | None]:
    value = value_of(dataset, keyword)
    found: list[float | None] = []
    for one in value if isinstance(value, (MultiValue, list)) else [value]:
        try:
            number = math.nan if one in (None, "") else float(one)
        except PARSE_ERRORS:
            number = math.nan
        found.append(number if math.isfinite(number) else None)
    return found


def looked_up(values: Array, item: Dataset, dataset: Dataset) -> tuple[Grey, float]:
    """Apply a look-up table; return its output, and the highest that it can have.

    pydicom 3.0 wraps round in tables of 8 bits with more than 256 entries and refuses 12 bits.

    Parameters
    ----------
    values
        (rows, columns), what the table is looked up for.
    item
        With LUT Descriptor and LUT Data.
    dataset
        Whose transfer syntax tells the order of bytes.

    Raises
    ------
    ValueError
        If it is no table.
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
    integers = values if values.dtype.kind in "iu" else np.rint(values)
    index = np.clip(integers.astype(np.int64) - start, 0, table.size - 1)
    stated, highest = float(2**bits - 1), float(table.max())
    top = highest if 0 < highest * _LOW_TOP <= stated else stated
    return table.astype(np.float32)[index], top


def _piecewise(transform: Callable[[Array, Grey], None], values: Array) -> Grey:
    """Apply what looks at each value by itself to pieces that fit into the processor's cache.

    ``transform`` is given a piece of the values, and where its grey levels belong.
    """
    out = np.empty(values.shape, np.float32)
    rows = max(1, _SAMPLE * len(values) // max(1, values.size))
    for start in range(0, len(values), rows):
        transform(values[start : start + rows], out[start : start + rows])
    return out


def clipped(levels: Array) -> Grey:
    """Return levels as float32 within [0, 1]."""
    return np.asarray(np.clip(levels, 0, 1), dtype=np.float32)
