"""Path lengths through closed meshes along the beam, without voxels.

Each triangle adds its depth, signed by which way it faces, to the pixels that it covers: the sum
over a closed surface is the length of the ray inside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hipnode.phantom.bones import Array, Ints

Image = NDArray[Any]  # float32, mm

_TALL: Final = (1, 2, 3, 4, 6, 8, 12, 20, 40)
"""Triangles up to so many rows tall are looked at together."""
_Runs = tuple[Ints, Ints, Ints, Array, Array]
"""Of each run its row, its first column and the one after its last; the signed depth at the first,
and by how much it grows from each to the next."""
_AT_ONCE: Final = 30_000
"""Rows of triangles that are looked at together: they fit into the processor's cache."""


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
    shape = grid.rows * times, grid.columns * times
    step = grid.step_mm / times
    shift = 0.5 * (1 - times) / times * grid.step_mm
    u = (points[:, 0] - grid.x0_mm - shift) / step + 1.234567e-4
    v = (points[:, 1] - grid.y0_mm - shift) / step + 2.345678e-4
    corners = np.stack([u, v, points[:, 2]], axis=1)[triangles]
    low = np.ceil(corners[:, :, :2].min(1)).astype(np.int64)
    high = np.floor(corners[:, :, :2].max(1)).astype(np.int64)
    inside = (high >= np.maximum(low, 0)).all(1) & (low < shape[::-1]).all(1)
    tall = (high - low + 1)[:, 1]
    runs: list[_Runs] = []
    for below, size in pairwise((0, *_TALL, tall.max(initial=0))):
        chosen = np.flatnonzero(inside & (tall > below) & (tall <= size))
        parts = np.array_split(chosen, len(chosen) * size // _AT_ONCE + 1)
        runs += [_runs(corners[part], low[part], size, shape) for part in parts]
    fine = _filled(runs, shape)
    rows = fine.reshape(grid.rows, times, -1).sum(1)
    coarse = reduce(np.add, (rows[:, i::times] for i in range(times))) / times**2
    return np.asarray(np.maximum(coarse, 0), dtype=np.float32)


def _runs(corners: Array, low: Ints, size: int, shape: tuple[int, int]) -> _Runs:
    """Return what these triangles, at most ``size`` rows tall, cover of each row of the image."""
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
        np.maximum(first, np.where(dy[:, None] < 0, ends, -np.inf), out=first)
        np.minimum(last, np.where(dy[:, None] > 0, ends, np.inf), out=last)
        if (level := dy == 0).any():
            last[level[:, None] & (down < 0)] = -np.inf
        depth += np.multiply(down, corner[:, 2, None], out=down)
        slope -= dy * corner[:, 2]
    from_x = np.maximum(np.ceil(first), 0)
    to_x = np.minimum(np.floor(last), shape[1] - 1)
    n, r = np.nonzero((to_x >= from_x) & (row >= 0) & (row < shape[0]))
    start, stop = from_x[n, r].astype(np.int64), to_x[n, r].astype(np.int64) + 1
    sign = np.sign(area[n])
    # A triangle on its edge is steep without bound: but then its run has one pixel.
    grows = np.where(stop - start > 1, slope[n], 0)
    return row[n, r], start, stop, sign * (depth[n, r] + slope[n] * start), sign * grows


def _filled(runs: list[_Runs], shape: tuple[int, int]) -> Image:
    """Return the image of this shape in which each run adds what it says to each of its pixels.

    Where a run begins, its line is added to the sum that goes along the row, and taken off where it
    ends: a run takes as long, however many pixels it has.
    """
    row, start, stop, value, grows = (np.concatenate(each) for each in zip(*runs, strict=True))
    if not len(row):
        return np.zeros(shape)
    top, left = row.min(), start.min()
    seen = np.zeros(shape)
    rows, columns = row.max() + 1 - top, stop.max() - left
    row, start, stop = row - top, start - left, stop - left
    ends = np.concatenate([row * (columns + 1) + start, row * (columns + 1) + stop])

    def along(each: Array) -> Image:
        steps = np.bincount(ends, np.concatenate([each, -each]), rows * (columns + 1))
        lines = steps.reshape(rows, columns + 1)
        found: Image = np.cumsum(lines, axis=1, out=lines)[:, :-1]
        return found

    window = seen[top : top + rows, left : left + columns]
    np.multiply(along(grows), np.arange(columns), out=window)
    window += along(value - grows * start)
    return seen
