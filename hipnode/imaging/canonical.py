"""The one way up in which networks see an image, and the way back to the pixels as stored.

Canonical is: upright, the patient's right on the viewer's left, square pixels. There a right hip
always looks like a right hip, however the image was stored; so what a network is shown depends on
where a hip lies in this picture. Boxes and maps of a reading are in the pixels as stored.

References
----------
PS3.3 C.7.6.1.1.1 (Patient Orientation), C.7.6.3.1.7 (Pixel Aspect Ratio), 10.7 (Pixel Spacing).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hipnode.domain import Box, Header, HipReading, Radiograph, Saliency
from hipnode.imaging.preprocess import resample

_OPPOSITE: Final = {"L": "R", "R": "L", "A": "P", "P": "A", "H": "F", "F": "H"}

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Canonical:
    """How a stored image becomes the canonical picture: turned, then mirrored, then made square.

    Attributes
    ----------
    stored
        (rows, columns) of the image as stored.
    turns
        How often `numpy.rot90` turns it.
    mirrored
        Whether left and right are exchanged after that.
    aspect
        Height of a stored pixel over its width; 1 for square ones.
    """

    stored: tuple[int, int]
    turns: int = 0
    mirrored: bool = False
    aspect: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the canonical picture: the coarser edge gets the finer's pixels."""
        (rows, columns), aspect = self._turned_shape, self._turned_aspect
        if aspect > 1:
            return max(1, round(rows * aspect)), columns
        return rows, max(1, round(columns / aspect))

    @property
    def _turned_shape(self) -> tuple[int, int]:
        return (self.stored[1], self.stored[0]) if self.turns % 2 else self.stored

    @property
    def _turned_aspect(self) -> float:
        return 1 / self.aspect if self.turns % 2 else self.aspect

    def turned(self, quarter_turns: int) -> Canonical:
        """Return what turns the canonical picture so often again."""
        # A mirror image turns the other way.
        more = -quarter_turns if self.mirrored else quarter_turns
        return replace(self, turns=(self.turns + more) % 4)

    def picture(self, pixels: Array) -> Array:
        """Return the canonical picture, ``shape`` float32, of the stored (rows, columns) pixels."""
        turned = np.rot90(pixels, self.turns)
        if self.mirrored:
            turned = turned[:, ::-1]
        return resample(np.ascontiguousarray(turned), self.shape)

    def radiograph(self, stored: Radiograph) -> Radiograph:
        """Return a radiograph with the canonical picture and the spacing of its pixels."""
        spacing_mm = stored.spacing_mm
        if spacing_mm is not None and self.turns % 2:
            spacing_mm = spacing_mm[1], spacing_mm[0]
        if spacing_mm is not None and self.aspect != 1:
            spacing_mm = (min(spacing_mm),) * 2
        pixels = self.picture(stored.pixels)
        return Radiograph(pixels, spacing_mm, stored.spacing_calibrated, stored.notes)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point of the stored image lies in the canonical picture.

        Parameters
        ----------
        x, y
            In pixels from the image's corner: the first pixel reaches from 0 to 1.
        """
        rows, columns = self.stored
        for _ in range(self.turns % 4):  # rot90: turned[i, j] = stored[j, columns - 1 - i]
            x, y, rows, columns = y, columns - x, columns, rows
        if self.mirrored:
            x = columns - x
        return x * self.shape[1] / columns, y * self.shape[0] / rows

    def place_back(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point of the canonical picture lies in the stored image.

        Parameters
        ----------
        x, y
            As for `place`.
        """
        rows, columns = self._turned_shape
        x, y = x * columns / self.shape[1], y * rows / self.shape[0]
        if self.mirrored:
            x = columns - x
        for _ in range(self.turns % 4):
            x, y, rows, columns = rows - y, x, columns, rows
        return x, y

    def box(self, stored: Box) -> Box:
        """Return a box of the stored image in the pixels of the canonical picture."""
        return _box(self.place(stored.x0, stored.y0), self.place(stored.x1, stored.y1), self.shape)

    def box_back(self, box: Box) -> Box:
        """Return a box of the canonical picture in the pixels of the stored image."""
        return _box(self.place_back(box.x0, box.y0), self.place_back(box.x1, box.y1), self.stored)

    def map_back(self, saliency: Saliency) -> Saliency:
        """Return a map over a canonical box as one over that box of the stored image."""
        values = np.array(saliency)
        back = np.rot90(values[:, ::-1] if self.mirrored else values, -self.turns)
        return tuple(map(tuple, back.tolist()))

    def hip_back(self, hip: HipReading) -> HipReading:
        """Return what was found of a hip with its box and maps in the pixels as stored."""
        findings = tuple(
            replace(f, saliency=None if f.saliency is None else self.map_back(f.saliency))
            for f in hip.findings
        )
        return replace(hip, roi=replace(hip.roi, box=self.box_back(hip.roi.box)), findings=findings)


def _box(one: tuple[float, float], other: tuple[float, float], shape: tuple[int, int]) -> Box:
    """Return the box between two corners, in whole pixels of an image of this shape."""
    (x0, x1), (y0, y1) = (sorted((round(a), round(b))) for a, b in zip(one, other, strict=True))
    x0, y0 = min(x0, shape[1] - 1), min(y0, shape[0] - 1)
    return Box(x0, y0, max(x1, x0 + 1), max(y1, y0 + 1))


def directions(header: Header) -> tuple[str, str] | None:
    """Return where rows and columns of the stored image lead, as letters of the patient's
    directions.

    Returns
    -------
    tuple of str, or None
        The main direction from left to right and from top to bottom; None where the header does
        not tell both.
    """
    if len(header.patient_orientation) != 2:
        return None
    across, down = (value.upper()[:1] for value in header.patient_orientation)
    return (across, down) if across in _OPPOSITE and down in _OPPOSITE else None


def turned(found: tuple[str, str], turns: int) -> tuple[str, str]:
    """Return where rows and columns lead after that many turns with `numpy.rot90`."""
    across, down = found
    for _ in range(turns % 4):  # what led down now leads right, what led right leads up
        across, down = down, _OPPOSITE[across]
    return across, down


def is_lateral(header: Header) -> bool:
    """Tell whether Patient Orientation says that the beam came from the side."""
    found = directions(header)
    return found is not None and bool({"A", "P"} & set(found)) and bool({"H", "F"} & set(found))


def by_header(header: Header, stored: Radiograph) -> Canonical | None:
    """Return the way to the canonical picture that Patient Orientation tells.

    Parameters
    ----------
    header, stored
        The image, as `hipnode.imaging.load` gives it.

    Returns
    -------
    Canonical or None
        None where it does not name one of the eight ways in which a frontal view can be stored.
    """
    found = directions(header)
    if found is None:
        return None
    for turns in range(4):
        across, down = turned(found, turns)
        if down == "F" and across in {"L", "R"}:
            shape = stored.rows, stored.columns
            return Canonical(shape, turns, across == "R", stored.aspect or 1.0)
    return None


def as_stored(stored: Radiograph) -> Canonical:
    """Return the way to an image as it lies in its file, but with square pixels."""
    return Canonical((stored.rows, stored.columns), aspect=stored.aspect or 1.0)


def as_shown(stored: Radiograph) -> Canonical:
    """Return the way to an image as its file asks to be shown; most ask for nothing."""
    lying = as_stored(stored)
    return replace(lying, turns=stored.shown_turns, mirrored=stored.shown_mirrored)
