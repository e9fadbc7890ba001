"""Fractures drawn into images of unfractured hips, so that real images appear in every class.

A network that sees real images as unfractured alone learns real against simulated. Here a hip
that is known to be whole gets a fracture in image space: a jagged line across the bone, the
distal part moved and turned about it, and a lucent or impacted margin. It is a stand-in for
fractures that this project has no images of, and it proves nothing about them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.special import expit

Site = Literal["intracapsular", "trochanteric"]
Point = tuple[float, float]


@dataclass(frozen=True)
class HipPoints:
    """Landmarks of one hip in its crop, (x, y) in [0, 1] from the top left corner.

    ``neck`` is the middle of the neck's base, ``greater`` the tip of the greater trochanter,
    ``lesser`` the tip of the lesser trochanter, ``shaft`` a point on the shaft's axis below.
    """

    head: Point
    neck: Point
    greater: Point
    lesser: Point
    shaft: Point


def break_hip(
    image: NDArray[np.float32], points: HipPoints, site: Site, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return ``image`` with a fracture.

    Parameters
    ----------
    image
        (s, s) float32 in [0, 1], bright bone.
    points
        Where the femur is.
    site
        Which fracture.
    rng
        Where all randomness comes from.

    Returns
    -------
    numpy.ndarray
        (s, s) float32 in [0, 1].
    """
    size = image.shape[0]
    line = _Line.through(points, site, rng)
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = np.meshgrid(axis, axis)
    side = line.signed(x, y, rng)  # > 0: the distal part
    reach = _bone(points, site, x, y)
    severity = float(rng.choice([0.0, 0.35, 1.0], p=[0.25, 0.35, 0.4]))
    moved = _displace(image, line, side, reach, severity, rng)
    return _margin(moved, line, side, reach, severity, rng).clip(0, 1).astype(np.float32)


@dataclass(frozen=True)
class _Line:
    """A straight fracture line: a point, the unit normal towards the distal part, a length."""

    x: float
    y: float
    nx: float
    ny: float
    unit: float  # head to neck base: the length that everything is measured in

    @staticmethod
    def through(points: HipPoints, site: Site, rng: np.random.Generator) -> _Line:
        head, neck = np.array(points.head), np.array(points.neck)
        greater, lesser = np.array(points.greater), np.array(points.lesser)
        unit = float(np.hypot(*(neck - head)))
        if site == "intracapsular":
            point = head + rng.uniform(0.45, 0.85) * (neck - head)
            normal = (neck - head) / unit
            turn = rng.uniform(-22, 22)
        else:
            point = (greater + lesser) / 2 + rng.normal(0, 0.08, 2) * unit
            along = lesser - greater
            normal = np.array([-along[1], along[0]]) / np.hypot(*along)
            normal *= np.sign(normal @ (np.array(points.shaft) - point)) or 1.0
            # one in six runs the other way: reverse obliquity, A3
            turn = rng.uniform(50, 80) if rng.random() < 1 / 6 else rng.uniform(-18, 18)
        angle = np.deg2rad(turn)
        cos, sin = np.cos(angle), np.sin(angle)
        nx, ny = cos * normal[0] - sin * normal[1], sin * normal[0] + cos * normal[1]
        return _Line(float(point[0]), float(point[1]), float(nx), float(ny), unit)

    def signed(
        self, x: NDArray[np.float32], y: NDArray[np.float32], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Return the distance to the jagged line, in units, positive on the distal side."""
        across = ((x - self.x) * self.nx + (y - self.y) * self.ny) / self.unit
        along = (-(x - self.x) * self.ny + (y - self.y) * self.nx) / self.unit
        jag = np.zeros_like(along)
        for wave in (1.5, 3.0, 6.0, 11.0):
            jag += rng.normal(0, 0.1 / wave) * np.sin(wave * along * 3 + rng.uniform(0, 2 * np.pi))
        return (across + jag + rng.uniform(-0.15, 0.15) * along**2).astype(np.float32)


def _segment(
    x: NDArray[np.float32], y: NDArray[np.float32], start: Point, end: Point
) -> NDArray[np.float32]:
    """Return each pixel's distance to a segment."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    share = ((x - start[0]) * dx + (y - start[1]) * dy) / (dx * dx + dy * dy + 1e-9)
    share = share.clip(0, 1)
    return np.hypot(x - start[0] - share * dx, y - start[1] - share * dy).astype(np.float32)


def _bone(
    points: HipPoints, site: Site, x: NDArray[np.float32], y: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return a soft mask, near 1 over the femur and 0 far from it."""
    unit = float(np.hypot(points.neck[0] - points.head[0], points.neck[1] - points.head[1]))
    dx, dy = points.shaft[0] - points.neck[0], points.shaft[1] - points.neck[1]
    end = (points.shaft[0] + dx, points.shaft[1] + dy)  # beyond the crop
    nearest = np.minimum.reduce(
        [
            _segment(x, y, points.head, points.neck) / 0.62,
            _segment(x, y, points.neck, end) / 0.62,
            _segment(x, y, points.neck, points.greater) / 0.5,
            _segment(x, y, points.neck, points.lesser) / (0.5 if site == "trochanteric" else 0.4),
        ]
    )
    mask: NDArray[np.float32] = np.exp(-((nearest / unit) ** 4)).astype(np.float32)
    return mask


def _displace(
    image: NDArray[np.float32],
    line: _Line,
    side: NDArray[np.float32],
    reach: NDArray[np.float32],
    severity: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Move and turn the distal part about the line."""
    size = image.shape[0]
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = np.meshgrid(axis, axis)
    angle = np.deg2rad(rng.uniform(8, 28) * rng.choice([-1, 1]) * severity)
    shift = rng.uniform(0.12, 0.45) * severity * line.unit
    heading = rng.uniform(0, 2 * np.pi)
    tx, ty = shift * np.cos(heading), shift * np.sin(heading)
    weight = reach * expit(side / 0.02)
    cos, sin = np.cos(angle), np.sin(angle)
    rx, ry = x - line.x, y - line.y
    from_x = x - weight * (tx + (cos - 1) * rx - sin * ry)
    from_y = y - weight * (ty + sin * rx + (cos - 1) * ry)
    places = np.stack([from_y, from_x]) * size - 0.5
    return np.asarray(map_coordinates(image, places, order=1, mode="nearest"), np.float32)


def _margin(
    image: NDArray[np.float32],
    line: _Line,
    side: NDArray[np.float32],
    reach: NDArray[np.float32],
    severity: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Darken the gap and brighten impacted bone beside it; stronger where nothing moved."""
    size = image.shape[0]
    contrast = float(image[reach > 0.5].std()) if (reach > 0.5).any() else 0.1
    strength = rng.uniform(0.5, 1.3) * (1.3 if severity == 0 else 0.8)
    width = max(rng.uniform(0.015, 0.05), 0.8 / (size * line.unit))
    gap = np.exp(-((side / width) ** 2))
    dense = np.exp(-(((np.abs(side) - 2.2 * width) / (1.5 * width)) ** 2))
    lucent = rng.random() < 0.75
    change = (-strength if lucent else 0.6 * strength) * gap + rng.uniform(0, 0.7) * dense
    changed: NDArray[np.float32] = image + (contrast * change * reach**8).astype(np.float32)
    return changed
