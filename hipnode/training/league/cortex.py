"""The cortical thickness index: what was measured on hip radiographs before any network.

References
----------
Yamamoto 2020, Introduction; Dorr 1993, Bone 14:231; Sah 2007, Clin Orthop Relat Res 455:119.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from hipnode.errors import InputRefused

Point = tuple[float, float]

_REACH_MM: Final = 30.0  # from the shaft's axis
_STEP_MM: Final = 0.3
_ALONG_MM: Final = 6.0  # up and down the shaft, averaged


def thickness_index(pixels: NDArray[Any], near: Point, far: Point, spacing_mm: float) -> float:
    """Return the share of the shaft's width that both cortices take, across the shaft at ``near``.

    Each cortex ends where the grey level has fallen half way: outside to nothing, inside to the
    darkest of the canal.

    Parameters
    ----------
    pixels
        (rows, columns), bone bright.
    near, far
        Two points (x, y) on the shaft's axis, in pixels; ``far`` may lie outside.
    spacing_mm
        The pixels'.

    Raises
    ------
    InputRefused
        If no shaft of two cortices is seen there.
    """
    rows, columns = pixels.shape
    length = float(np.hypot(*np.subtract(far, near)))
    if not (length > 0 and 0 <= near[0] <= columns and 0 <= near[1] <= rows):
        raise InputRefused("no shaft is marked within the image")
    axis = np.subtract(far, near) / length
    across = np.array([axis[1], -axis[0]])
    aside = np.arange(-_REACH_MM, _REACH_MM + _STEP_MM / 2, _STEP_MM) / spacing_mm
    along = np.arange(-_ALONG_MM, _ALONG_MM + _STEP_MM, 2 * _STEP_MM) / spacing_mm
    at = np.array(near) + aside[:, None, None] * across + along[None, :, None] * axis
    at_cells = [at[..., 1] - 0.5, at[..., 0] - 0.5]
    seen = map_coordinates(np.asarray(pixels, float), at_cells, order=1, mode="nearest").mean(1)
    bone = np.flatnonzero(seen > seen.max() / 2)
    if len(bone) < 5:
        raise InputRefused("no shaft is seen where the cortex was to be measured")
    first, last = int(bone[0]), int(bone[-1])
    middle = (first + last) // 2
    one, other = first + int(seen[first:middle].argmax()), middle + int(seen[middle:].argmax())
    canal = seen[one : other + 1]
    begins = one + int(np.flatnonzero(canal <= (seen[one] + canal.min()) / 2)[0])
    ends = one + int(np.flatnonzero(canal <= (seen[other] + canal.min()) / 2)[-1])
    return 1 - (ends - begins) / (last - first)
