"""Even margins: an archive's canvas, a collimator's black, a scanned film's white."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hipnode.domain import Box

_EVEN: Final = 0.03
"""Grey levels of a line of margin differ by no more: JPEG leaves some noise in it."""
_EACH, _BOTH, _MOST = 0.01, 0.04, 0.6
"""The share of an edge that a margin takes at each of its ends, that both take, and may take."""


def inside_margins(pixels: NDArray[np.float32]) -> Box | None:
    """Return the part of an image that lies within even margins; None where there are none.

    A margin lies at both ends of an edge. At one end alone it is more often the air beside a leg.

    Parameters
    ----------
    pixels
        (rows, columns) float32 in [0, 1].

    Returns
    -------
    Box or None
        What is left without outer rows and columns of one grey each. None, too, where margins take
        most of the image: it is then all but empty, and no part of it is to be believed.
    """
    rows, columns = pixels.shape
    top, bottom = _margins(pixels)
    left, right = _margins(pixels.T)
    if not top + bottom + left + right:
        return None
    return Box(left, top, columns - right, rows - bottom)


def _margins(lines: NDArray[np.float32]) -> tuple[int, int]:
    """Return how many lines are margin, at the beginning and at the end."""
    ends = _uneven(lines), _uneven(lines[::-1])
    enough = min(ends) >= _EACH * len(lines) and _BOTH <= sum(ends) / len(lines) <= _MOST
    return ends if enough else (0, 0)


def _uneven(lines: Iterable[NDArray[np.float32]]) -> int:
    """Return how many lines are even before the first that is not."""
    for number, line in enumerate(lines):
        if np.ptp(line) > _EVEN:
            return number
    return 0
