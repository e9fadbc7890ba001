"""Grossly displaced fractures, as they come in life: the leg drawn up, turned and swung, in pieces.

Here trochanter and shaft lie over head and neck, often without a lucent line between them, and
around the main cut lie a spike of the calcar, the lesser trochanter and shells of the lateral wall.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from hipnode.phantom import affine
from hipnode.phantom.anatomy import FEMUR_GRID
from hipnode.phantom.bones import Array
from hipnode.phantom.femur import FemurPoints
from hipnode.phantom.fractures import Bone, Fracture, moved, ragged, soft_step

_DEPTH: Final = 0.6
"""The share of the bone's depth that a piece takes along; the rest stays."""


def gross(fracture: Fracture, rng: np.random.Generator) -> Fracture:
    """Return a displaced fracture as real ones are: drawn up by 15 to 45 mm, swung, in pieces."""
    up = rng.uniform(15, 32) if fracture.label == "intracapsular" else rng.uniform(20, 45)
    swung = float(rng.choice([-1, 1], p=[0.35, 0.65]) * rng.uniform(8, 28))
    most = {"intracapsular": 2, "trochanteric": 6, "subtrochanteric": 4}[fracture.label]
    return replace(
        fracture,
        displacement_mm=round(float(up), 2),
        angle_deg=round(float(rng.uniform(15, 40)), 2),
        gap_mm=float(rng.uniform(0.0, 1.2)),
        aside=float(rng.uniform(0.0, 0.5)),
        swing_deg=round(swung, 2),
        turned=True,
        fragment=False,  # it is one of the pieces
        pieces=int(rng.integers(1, most)),
    )


def shatter(bone: Bone, fracture: Fracture) -> Bone:
    """Return the bone with further pieces broken off and moved."""
    rng = np.random.default_rng(fracture.seed + 4)
    places = _places(bone.points, fracture)
    for index in rng.permutation(len(places))[: fracture.pieces]:
        centre, wide_mm, high_mm = places[index]
        bone = _break_off(bone, centre, wide_mm, high_mm, fracture.seed + 5 + int(index))
    return bone


def _places(p: FemurPoints, fracture: Fracture) -> list[tuple[Array, float, float]]:
    """Return where pieces break off, and their half width and height in mm."""
    down = (p.shaft_far - p.shaft_near) / np.hypot(*(p.shaft_far - p.shaft_near))
    across = np.array([-down[1], down[0]])
    across = across if across @ (p.lesser_trochanter - p.shaft_near) > 0 else -across
    if fracture.label == "intracapsular":
        return [(p.neck, 7.0, 10.0), (p.neck_base + 8 * across, 6.0, 12.0)]
    if fracture.label == "subtrochanteric":
        at = p.shaft_near - 15 * down
        return [
            (at + side * 9 * across + along * down, 6.0, 20.0)
            for side, along in ((1, -8), (-1, 6), (1, 26))
        ]
    return [
        (p.lesser_trochanter, 10.0, 16.0),
        (p.neck_base + 10 * across + 6 * down, 6.0, 16.0),  # the calcar's spike
        (p.lateral, 6.0, 22.0),  # a shell of the lateral wall
        (p.greater_trochanter + 10 * down, 12.0, 12.0),
        (p.lesser_trochanter + 24 * down, 6.0, 18.0),
    ]


def _break_off(bone: Bone, centre: Array, wide_mm: float, high_mm: float, seed: int) -> Bone:
    rng = np.random.default_rng(seed)
    x, y = affine.mm(FEMUR_GRID)
    lean = np.radians(rng.normal(0, 20))
    u = (x - centre[0]) * np.cos(lean) + (y - centre[1]) * np.sin(lean)
    v = -(x - centre[0]) * np.sin(lean) + (y - centre[1]) * np.cos(lean)
    size = rng.uniform(0.7, 1.3)
    off = np.hypot(u, v * wide_mm / high_mm) + ragged(v, seed)
    mask = soft_step((size * wide_mm - off).astype(np.float32)) * np.float32(_DEPTH)
    heading, far = rng.uniform(0, 2 * np.pi), rng.uniform(3, 14)
    pull = affine.shift(far * np.cos(heading), far * np.sin(heading)) @ affine.turn_about(
        rng.normal(0, 22), centre
    )
    whole = bone.whole * (1 - mask) + moved(bone.whole * mask, pull)
    cortex = bone.cortex * (1 - mask) + moved(bone.cortex * mask, pull)
    return replace(bone, whole=whole, cortex=cortex)
