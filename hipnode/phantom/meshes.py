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
    edges = [4, 12, 40, 1000]
    for below, size in zip([0, *edges[:-1]], edges, strict=True):
        chosen = np.nonzero(inside & (span > below) & (span <= size))[0]
        for part in np.array_split(chosen, max(1, len(chosen) * size // 1_000_000 + 1)):
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
    row = low[:, 1, None] + np.arange(size)  # (n, size)
    first, last = np.full(row.shape, -np.inf), np.full(row.shape, np.inf)
    depth, slope = np.zeros(row.shape), np.zeros(len(low))  # at column 0, and by column
    for p, q, corner in ((b, c, a), (c, a, b), (a, b, c)):  # each corner's weight: down + across
        dx, dy = ((q[:, i] - p[:, i]) / area for i in (0, 1))
        down = dx[:, None] * (row - p[:, 1, None]) + (dy * p[:, 0])[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = down / dy[:, None]  # where the weight is 0
        first = np.where(dy[:, None] < 0, np.maximum(first, ends), first)
        last = np.where(dy[:, None] > 0, np.minimum(last, ends), last)
        last = np.where((dy[:, None] == 0) & (down < 0), -np.inf, last)
        depth += down * corner[:, 2, None]
        slope -= dy * corner[:, 2]
    from_x = np.maximum(np.ceil(first), 0)
    to_x = np.minimum(np.floor(last), image.shape[1] - 1)
    n, r = np.nonzero((to_x >= from_x) & (row >= 0) & (row < image.shape[0]))
    start = from_x[n, r].astype(np.int64)
    run = to_x[n, r].astype(np.int64) - start + 1
    column = np.arange(run.sum()) + np.repeat(start - np.cumsum(run) + run, run)
    sign = np.sign(area[n])
    signed = np.repeat(depth[n, r] * sign, run) + np.repeat(slope[n] * sign, run) * column
    at = np.repeat(row[n, r] * image.shape[1], run) + column
    image += np.bincount(at, signed, minlength=image.size).reshape(image.shape)
