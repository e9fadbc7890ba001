"""Where in a sample its finding is, where the manifest tells: what a heat map should point at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hipnode.domain import TASKS
from hipnode.imaging import part_of, square_around
from hipnode.training.recipe.recipe import Recipe
from hipnode.training.samples.items import Item

LINE_OF: Final = {
    row.role: row.heat_at for row in TASKS.values() if row.heat_at and "box" not in row.heat_at
}
"""By role, the manifest's column that has the finding's line."""
_SIZE: Final = 0.07
"""Of the stored square's side: the standard deviation of a spot."""


def spots(recipe: Recipe, chosen: Sequence[Item], margin: float) -> NDArray[np.float32]:
    """Return the middle of each item's finding, (n, 2): x and y as shares of the stored square.

    It is nan where nothing tells: real hips, what is drawn into them, whole hips, and images that
    are not stored upright.

    Parameters
    ----------
    recipe, chosen
        Whose items, as for `gather`.
    margin
        What is stored around an item's box (`square_around`).
    """
    return np.array([_spot(recipe, item, margin) for item in chosen], np.float32).reshape(-1, 2)


def _spot(recipe: Recipe, item: Item, margin: float) -> tuple[float, float]:
    row, hip = item.row, item.hip
    column = LINE_OF.get(recipe.role, "")
    if hip is None or item.drawn or row.turned or row.mirrored or not column:
        return np.nan, np.nan
    cell = row.cells.get(f"{hip.side.word.lower()}_{column}", "")
    if not cell:
        return np.nan, np.nan
    x, y = np.mean([[float(n) for n in point.split(",")] for point in cell.split()], axis=0)
    mirrored = recipe.preprocess.mirrors(hip.side)
    part = part_of(hip.box, recipe.preprocess.region, mirrored=mirrored)
    x0, y0, side = square_around(part, margin)
    across = (x - x0) / side
    return 1 - across if mirrored else across, (y - y0) / side


def blurred(found: Tensor, side: int) -> Tensor:
    """Return spots (n, 2) as pictures (n, 1, side, side), 1 in the middle; nan gives an empty one.

    Like an image, a picture moves along when its sample is augmented.
    """
    at = (torch.arange(side, device=found.device) + 0.5) / side
    x, y = (torch.exp(-0.5 * ((at - one[:, None]) / _SIZE) ** 2) for one in found.unbind(1))
    return torch.nan_to_num(y[:, None, :, None] * x[:, None, None, :])
