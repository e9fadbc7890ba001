"""Placing images in a plane: 3 x 3 matrices over (x, y, 1), and shapes drawn as path lengths."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.ndimage import affine_transform, gaussian_filter, zoom

from hipnode.phantom.bones import Array
from hipnode.phantom.meshes import Grid, Image


def shift(x: float, y: float) -> Array:
    return np.array([[1.0, 0, x], [0, 1.0, y], [0, 0, 1.0]])


def scale(x: float, y: float) -> Array:
    return np.diag([x, y, 1.0])


def turn(degrees: float) -> Array:
    """Return a rotation that looks clockwise where y points down."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def turn_about(degrees: float, centre: Array) -> Array:
    return shift(*centre) @ turn(degrees) @ shift(*-centre)


def apply(matrix: Array, points: Array) -> Array:
    """Return the (n, 2) or (2,) points moved by the matrix."""
    return np.asarray(points @ matrix[:2, :2].T + matrix[:2, 2])


def from_pixels(grid: Grid) -> Array:
    """Return the matrix from a grid's pixels to its mm."""
    return shift(grid.x0_mm, grid.y0_mm) @ scale(grid.step_mm, grid.step_mm)


def resample(image: Image, to_source: Array, shape: tuple[int, int]) -> Image:
    """Return ``image`` at the pixels that the matrix takes (x, y) to; 0 outside."""
    swap = to_source[[1, 0, 2]][:, [1, 0, 2]]
    out: Image = affine_transform(
        image, swap[:2, :2], swap[:2, 2], shape, np.float32, order=1, mode="constant"
    )
    return out


def add(canvas: Image, image: Image, to_source: Array) -> None:
    """Add ``image`` where it falls on the canvas, touching nothing else."""
    rows, columns = image.shape
    corners = np.array([[0, 0], [columns, 0], [0, rows], [columns, rows]], dtype=float)
    at = apply(np.linalg.inv(to_source), corners)
    x0, y0 = np.maximum(np.floor(at.min(0)).astype(int) - 1, 0)
    x1, y1 = np.minimum(np.ceil(at.max(0)).astype(int) + 2, canvas.shape[::-1])
    if x0 < x1 and y0 < y1:
        window = to_source @ shift(float(x0), float(y0))
        canvas[y0:y1, x0:x1] += resample(image, window, (y1 - y0, x1 - x0))


def mm(grid: Grid) -> tuple[Image, Image]:
    """Return x and y in mm, broadcastable over the grid."""
    x = grid.x0_mm + grid.step_mm * np.arange(grid.columns, dtype=np.float64)[None, :]
    y = grid.y0_mm + grid.step_mm * np.arange(grid.rows, dtype=np.float64)[:, None]
    return x, y


def rod(x: Image, y: Image, a: Array, b: Array, ra: float, rb: float) -> Image:
    """Return the path length of a round rod from a to b whose radius goes from ra to rb."""
    d = b - a
    length = float(np.hypot(*d)) + 1e-6
    u = d / length
    along = np.clip((x - a[0]) * u[0] + (y - a[1]) * u[1], 0, length)
    off2 = (x - a[0] - along * u[0]) ** 2 + (y - a[1] - along * u[1]) ** 2
    radius = ra + (rb - ra) * along / length
    out: Image = (2 * np.sqrt(np.maximum(radius**2 - off2, 0))).astype(np.float32)
    return out


def along_line(x: Image, y: Image, a: Array, b: Array) -> tuple[Image, Image, float]:
    """Return the distance along and across the line from a to b, and its length."""
    d = b - a
    length = float(np.hypot(*d)) + 1e-6
    u = d / length
    along = (x - a[0]) * u[0] + (y - a[1]) * u[1]
    across = -(x - a[0]) * u[1] + (y - a[1]) * u[0]
    return np.asarray(along), np.asarray(across), length


@cache
def texture(kind: str) -> Image:
    """Return a 1024 x 1024 field of mean 0 and deviation 1, the same on every machine."""
    rng = np.random.default_rng([77, len(kind)])
    noise = rng.standard_normal((1024, 1024)).astype(np.float32)
    if kind == "trabecular":  # strands along the vertical, and a weaker cross weave
        field = 1.2 * gaussian_filter(noise, (2.6, 0.9), mode="wrap")
        field += 0.6 * gaussian_filter(noise.T, 1.2, mode="wrap")
        field += 2.2 * gaussian_filter(noise[::-1], 4, mode="wrap")
    elif kind == "grain":  # fibres and lobules of muscle and fat
        field = 1.5 * gaussian_filter(noise, (2.2, 0.8), mode="wrap")
        field += 3.0 * gaussian_filter(noise.T, (1.2, 2.0), mode="wrap")
        field += 0.12 * noise
        field += 6.0 * gaussian_filter(noise[::-1], 7, mode="wrap")
    else:  # "clouds": several octaves
        field = sum(
            (s**1.7 * gaussian_filter(np.roll(noise, 91 * s, 1), s, mode="wrap"))
            for s in (4, 10, 24, 60)
        )
    field -= field.mean()
    out: Image = (field / field.std()).astype(np.float32)
    return out


def crop(field: Image, shape: tuple[int, int], rng: np.random.Generator) -> Image:
    """Return a random piece of a texture that wraps around."""
    r, c = rng.integers(0, 1024, 2)
    rows = (np.arange(shape[0]) + r) % 1024
    columns = (np.arange(shape[1]) + c) % 1024
    return np.asarray(field[rows[:, None], columns[None, :]])


def enlarge(image: Image, shape: tuple[int, int]) -> Image:
    """Return a smooth image at a larger shape."""
    factors = (shape[0] / image.shape[0], shape[1] / image.shape[1])
    out: Image = zoom(image, factors, np.float32, order=1, grid_mode=True, mode="nearest")
    return out
