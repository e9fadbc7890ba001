"""Which way an image faces: from Patient Orientation and the picture, or by the convention."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from hipnode.domain import Header, Radiograph
from hipnode.imaging import Canonical, as_shown, by_header
from hipnode.imaging.canonical import directions, turned
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
TURNED: Final = "The image is stored turned by {degrees} degrees; it was assessed upright."
MIRRORED: Final = (
    "The image is stored with its rows towards the patient's right; it was assessed as its mirror "
    "image."
)
NOT_SQUARE: Final = (
    "The pixels of the image are {aspect:.3g} times as high as wide; it was assessed with square "
    "pixels."
)


@dataclass(frozen=True, slots=True)
class Facing:
    """The way to the canonical picture, and how sure it is that its right side is the patient's."""

    canonical: Canonical
    side: SideIs = SideIs.KNOWN
    notes: tuple[str, ...] = ()  # what was assumed of the sides

    @property
    def changes(self) -> tuple[str, ...]:
        """What was done to the stored image, in sentences."""
        found, way = [], self.canonical
        if way.turns:
            found.append(TURNED.format(degrees=way.turns * 90))
        if way.mirrored:
            found.append(MIRRORED)
        if way.aspect != 1:
            found.append(NOT_SQUARE.format(aspect=way.aspect))
        return tuple(found)


def as_header_says(header: Header, stored: Radiograph) -> Canonical:
    """Return the way to the canonical picture by Patient Orientation, else by EXIF Orientation."""
    return by_header(header, stored) or as_shown(stored)


def facing(header: Header, stored: Radiograph, turns: int) -> Facing:
    """Return which way an image faces.

    Parameters
    ----------
    header, stored
        As `hipnode.imaging.load` gives them.
    turns
        How often `numpy.rot90` has to turn the image that `as_header_says` gives, for the gate to
        take it for upright.
    """
    found, told = directions(header), by_header(header, stored)
    canonical = (told or as_shown(stored)).turned(turns)
    if told and not turns:
        return Facing(canonical)
    if found:
        return Facing(_likeliest(found, canonical), SideIs.UNSURE, (CONTRADICTION,))
    if header.view_position.upper() == "PA":
        return Facing(canonical, SideIs.UNSURE, (FROM_BEHIND,))
    return Facing(canonical, SideIs.KNOWN, (CONVENTION,))


def _likeliest(found: tuple[str, str], upright: Canonical) -> Canonical:
    """Return an upright picture mirrored as a header says that contradicts it otherwise.

    Where it says R or L of what runs across the picture, it is wrong only about head and foot.
    """
    across, _ = turned(found, upright.turns)
    return replace(upright, mirrored=across == "R") if across in {"R", "L"} else upright
