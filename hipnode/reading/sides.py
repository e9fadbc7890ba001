"""Whose side the viewer's left is: from Patient Orientation, the view, or the convention."""

from __future__ import annotations

from typing import Final

from hipnode.domain import Header, Side
from hipnode.reading.verdict import SideIs

CONVENTION: Final = (
    "The header does not say which way the image faces: the patient's right was taken to be on "
    "the viewer's left."
)
CONTRADICTION: Final = (
    "Patient Orientation contradicts the image as it was found upright: the side is not certain."
)
FROM_BEHIND: Final = (
    "The view is PA and the header gives no Patient Orientation: the side is not certain."
)
_OPPOSITE: Final = {"L": "R", "R": "L", "A": "P", "P": "A", "H": "F", "F": "H"}


def directions(header: Header, turns: int = 0) -> tuple[str, str] | None:
    """Return where rows and columns of the image lead, as letters of the patient's directions.

    Parameters
    ----------
    turns
        How often `numpy.rot90` turned the stored image, which is the one that the header describes.

    Returns
    -------
    tuple of str, or None
        The main direction from left to right and from top to bottom; None where the header does
        not tell both.

    References
    ----------
    PS3.3 C.7.6.1.1.1 (Patient Orientation).
    """
    if len(header.patient_orientation) != 2:
        return None
    across, down = (value.upper()[:1] for value in header.patient_orientation)
    if across not in _OPPOSITE or down not in _OPPOSITE:
        return None
    for _ in range(turns % 4):  # rot90: what led down now leads right, what led right leads up
        across, down = down, _OPPOSITE[across]
    return across, down


def is_lateral(header: Header) -> bool:
    """Tell whether Patient Orientation says that the beam came from the side."""
    found = directions(header)
    return found is not None and bool({"A", "P"} & set(found)) and bool({"H", "F"} & set(found))


def viewers_left(header: Header, turns: int) -> tuple[Side, SideIs, str]:
    """Return whose side lies on the viewer's left once the image is upright.

    Returns
    -------
    side, sure, note
        The side; whether it is known, or only assumed although something speaks against it; and
        what was assumed.
    """
    found = directions(header, turns)
    if found is not None:
        across, down = found
        if down == "F" and across in {"L", "R"}:
            # Rows lead to the patient's left: the right side is on the viewer's left.
            return (Side.RIGHT if across == "L" else Side.LEFT), SideIs.KNOWN, ""
        return Side.RIGHT, SideIs.UNSURE, CONTRADICTION
    if header.view_position.upper() == "PA":
        return Side.RIGHT, SideIs.UNSURE, FROM_BEHIND
    return Side.RIGHT, SideIs.KNOWN, CONVENTION
