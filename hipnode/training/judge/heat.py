"""Whether a heat map is hottest at the right place, where the manifest tells which that is.

References
----------
Murphy 2022, Figure 5 (where the heat lies, by class); Jang 2022, "Model evaluation" (adequacy: over
cortex and trabeculae of the proximal femur). Zhang 2018, IJCV 126:1084 (the pointing game).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hipnode.domain import TASKS, Box, Role
from hipnode.imaging import PreprocessSpec, part_of, square_around
from hipnode.training.samples.items import Item
from hipnode.training.samples.manifest import Seen

NEAR: Final = 0.25
"""Of the box's width: how far from the fracture's line the hottest place may lie."""
NAMES: Final = {row.role: row.heat_is for row in TASKS.values() if row.heat_at}
"""What is asked of a map, by role: of hips that have the finding."""
_COLUMNS: Final = {row.role: row.heat_at for row in TASKS.values()}


def peak(
    places: NDArray[np.float32], box: Box, how: PreprocessSpec, *, mirrored: bool
) -> tuple[float, float]:
    """Return where a map over a hip's crop is hottest, (x, y) in the pixels of the picture.

    Parameters
    ----------
    places
        (h, w) over what the network saw.
    box
        The hip's.
    how
        The network's preprocessing.
    mirrored
        The network saw the hip mirrored.
    """
    rows, columns = places.shape
    row, column = np.unravel_index(int(places.argmax()), places.shape)
    across = (int(column) + 0.5) / columns
    x0, y0, side = square_around(part_of(box, how.region, mirrored=mirrored), how.crop_margin)
    return x0 + side * (1 - across if mirrored else across), y0 + side * (int(row) + 0.5) / rows


def hits(
    role: Role, item: Item, seen: Seen, places: NDArray[np.float32], how: PreprocessSpec
) -> bool | None:
    """Tell whether a hip's map is hottest where it should be; None where nothing tells that.

    Parameters
    ----------
    role
        The model's.
    item, seen
        A hip with the finding, and its picture.
    places
        (h, w) in [0, 1] over what the network saw; an empty map hits nothing.
    how
        The network's preprocessing.
    """
    if item.hip is None or role not in NAMES:
        return None
    prefix = item.hip.side.word.lower()
    cell = item.row.cells.get(f"{prefix}_{_COLUMNS[role]}", "")
    if not cell:
        return None
    if not places.any():
        return False
    box = seen.hip(item.hip).box
    x, y = peak(places, box, how, mirrored=how.mirrors(item.hip.side))
    if _COLUMNS[role].endswith("_box"):
        target = seen.canonical.box(Box(*(int(part) for part in cell.split())))
        return bool(target.x0 <= x < target.x1 and target.y0 <= y < target.y1)
    line = np.array([seen.canonical.place(*map(float, point.split(","))) for point in cell.split()])
    return bool(np.hypot(*(line - [x, y]).T).min() <= NEAR * box.width_px)
