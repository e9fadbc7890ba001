"""Landmarks of the femur, found once on the mean shape and then carried by their vertices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from hipnode.phantom.bones import Array, Ints, load_atlas

LANDMARKS: Final = (
    "head",
    "greater_trochanter",
    "lesser_trochanter",
    "neck",
    "neck_base",
    "lateral",
    "shaft_near",
    "shaft_far",
)


@dataclass(frozen=True, slots=True)
class FemurPoints:
    """Points of one femur in mm, in 3-D or projected; arrays of 3 or 2 numbers."""

    head: Array
    greater_trochanter: Array  # its tip
    lesser_trochanter: Array  # its tip
    neck: Array  # the middle of the neck
    neck_base: Array  # where the neck's axis meets the shaft's
    lateral: Array  # the lateral face below the greater trochanter
    shaft_near: Array  # the shaft's axis, about 35 mm below the lesser trochanter
    shaft_far: Array  # the shaft's axis, about 120 mm below the lesser trochanter
    head_radius: float


def sphere(points: Array) -> tuple[Array, float]:
    """Return the centre and radius of the sphere that fits these points best."""
    system = np.column_stack([2 * points, np.ones(len(points))])
    answer = np.linalg.lstsq(system, (points**2).sum(1), rcond=None)[0]
    return answer[:3], float(np.sqrt(answer[3] + answer[:3] @ answer[:3]))


@cache
def _indices() -> dict[str, Ints]:
    """Return which vertices stand for which landmark, chosen on the mean femur."""
    points = load_atlas().femur.vertices(load_atlas().mean[1946:2580])
    top = points[:, 2].max()
    high = points[:, 2] > top - 45
    chosen = high & (points[:, 0] < np.percentile(points[high, 0], 35))
    for _ in range(8):
        centre, radius = sphere(points[chosen])
        near = np.abs(np.linalg.norm(points - centre, axis=1) - radius) < 1.2
        chosen = near & (points[:, 2] > centre[2] - 0.6 * radius)
    down = centre[2] - points[:, 2]
    rings = {
        "shaft_near": np.abs(down - 95) < 6,
        "shaft_far": np.abs(down - 180) < 8,
    }
    a, b = (points[rings[k]].mean(0) for k in ("shaft_near", "shaft_far"))
    axis = (b - a) / np.linalg.norm(b - a)
    off = (points - a) - ((points - a) @ axis)[:, None] * axis
    lateral_side = off @ np.array([1.0, 0.0, 0.0])
    tip = np.argmax(np.where((lateral_side > 0) & (down < 40), points[:, 2], -np.inf))
    band = (down > 45) & (down < 85)
    less = np.argmax(np.where(band, off @ np.array([-0.7, 0.7, 0.0]), -np.inf))
    side = np.argmax(np.where((down > 28) & (down < 60), points[:, 0], -np.inf))
    return {
        "head": np.nonzero(chosen)[0],
        "greater_trochanter": np.array([tip]),
        "lesser_trochanter": np.array([less]),
        "lateral": np.array([side]),
        **{k: np.nonzero(v)[0] for k, v in rings.items()},
    }


def find_points(vertices: Array) -> FemurPoints:
    """Return the landmarks of a left femur from its vertices, in the vertices' frame."""
    at = _indices()
    head, radius = sphere(vertices[at["head"]])
    one = {k: vertices[at[k]].mean(0) for k in at if k != "head"}
    a, b = one["shaft_near"], one["shaft_far"]
    axis = (a - b) / np.linalg.norm(a - b)
    rise = axis @ (0.45 * one["greater_trochanter"] + 0.55 * one["lesser_trochanter"] - a)
    base = a + axis * rise
    return FemurPoints(
        head,
        one["greater_trochanter"],
        one["lesser_trochanter"],
        head + 0.45 * (base - head),
        base,
        one["lateral"],
        a,
        b,
        radius,
    )
