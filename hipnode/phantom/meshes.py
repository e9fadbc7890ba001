"""Path lengths through closed meshes along the beam, without voxels.

Each triangle adds its depth, signed by which way it faces, to the pixels that it covers: the sum
over a closed surface is the length of the ray inside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hipnode.phantom.bones import Array, Ints

Image = NDArray[Any]  # float32, mm


@dataclass(frozen=True, slots=True)
class Grid:
    """Where an image lies: the centre of pixel (0, 0) in mm, x to the right, y down the image."""

    x0_mm: float
    y0_mm: float
    step_mm: float
    rows: int
    columns: int


def project(points: Array, triangles: Ints, grid: Grid, *, times: int = 2) -> Image:
    """Return the path length in mm at every pixel, averaged over ``times``² samples.

    ``points`` are (x, y, depth) in mm: x and y in the image's plane, y down.
    """
    fine = np.zeros((grid.rows * times, grid.columns * times))
    step = grid.step_mm / times
    shift = 0.5 * (1 - times) / times * grid.step_mm
    u = (points[:, 0] - grid.x0_mm - shift) / step + 1.234567e-4
    v = (points[:, 1] - grid.y0_mm - shift) / step + 2.345678e-4
    corners = np.stack([u, v, points[:, 2]], axis=1)[triangles]
    low = np.ceil(corners[:, :, :2].min(1)).astype(np.int64)
    high = np.floor(corners[:, :, :2].max(1)).astype(np.int64)
    span = (high - low + 1).max(1)
    inside = (high >= 0).all(1) & (low[:, 0] < fine.shape[1]) & (low[:, 1] < fine.shape[0])
    edges = [1, 3, 5, 8, 12, 20, 40, 80, 160, 1000]
    for below, size in zip([0, *edges[:-1]], edges, strict=True):
        chosen = np.nonzero(inside & (span > below) & (span <= size))[0]
        for part in np.array_split(chosen, max(1, len(chosen) * size * size // 2_000_000 + 1)):
            if len(part):
                _add(fine, corners[part], low[part], size)
    coarse = fine.reshape(grid.rows, times, grid.columns, times).mean((1, 3))
    return np.asarray(np.maximum(coarse, 0), dtype=np.float32)


def _add(image: Array, corners: Array, low: Ints, size: int) -> None:
    """Add the signed depths of these triangles, each at most ``size`` pixels wide."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    keep = np.abs(area) > 1e-12
    a, b, c, area, low = a[keep], b[keep], c[keep], area[keep], low[keep]
    offset = np.arange(size)
    x = (low[:, 0, None] + offset).astype(float)  # (n, size): columns, and y the rows
    y = (low[:, 1, None] + offset).astype(float)

    def plane(p: Array, q: Array) -> tuple[Array, Array]:
        """Return a corner's weight as a term of y and a term of x, whose sum it is."""
        dx, dy = ((q[:, i] - p[:, i]) / area for i in (0, 1))
        down = dx[:, None] * (y - p[:, 1, None])
        return down, -dy[:, None] * (x - p[:, 0, None])

    planes = (plane(b, c), plane(c, a), plane(a, b))
    covered = ((y >= 0) & (y < image.shape[0]))[:, :, None] & (
        (x >= 0) & (x < image.shape[1])
    )[:, None, :]
    for down, across in planes:
        covered &= down[:, :, None] >= -across[:, None, :]
    n, row, column = np.nonzero(covered)
    depth = np.zeros(len(n))
    for (down, across), corner in zip(planes, (a, b, c), strict=True):
        depth += (down[n, row] + across[n, column]) * corner[n, 2]
    depth *= np.sign(area)[n]
    at = (low[n, 1] + row) * image.shape[1] + low[n, 0] + column
    image += np.bincount(at, depth, minlength=image.size).reshape(image.shape)
