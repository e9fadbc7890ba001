"""Fractures, in the plane of the projected femur.

A noisy line cuts the bone's path-length image in two; the lower piece may come from the femur
turned outwards, and both are moved rigidly. What overlaps adds, what parts leaves a gap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.ndimage import gaussian_filter1d

from hipnode.phantom import affine
from hipnode.phantom.anatomy import FEMUR_GRID, Hip, Part
from hipnode.phantom.bones import Array
from hipnode.phantom.femur import FemurPoints
from hipnode.phantom.meshes import Image

_TROCHANTER_MM: Final = 14.0
_TROCHANTER_AT: Final = np.array([7.0, 9.0])  # from the tip to the middle


@dataclass(frozen=True, slots=True)
class Fracture:
    """What broke and how; all lengths in mm in the plane of the hips."""

    label: str
    subtype: str
    displacement_mm: float
    angle_deg: float  # of the pieces to each other; varus is positive
    along: float  # where along the neck or the shaft
    tilt_deg: float
    gap_mm: float
    turned: bool
    fragment: bool
    old: bool
    seed: int
    aside: float = 0.6  # how far to the side the shaft goes, of its displacement
    swing_deg: float = 0.0  # of the leg, beyond what the pieces' angle asks for
    pieces: int = 0  # that break off besides the two


@dataclass(frozen=True, slots=True)
class Bone:
    """A femur ready for composition, in its own grid: total path and cortical path in mm."""

    whole: Image
    cortex: Image
    points: FemurPoints
    line: Array  # (n, 2), empty where nothing broke


def intact(hip: Hip, cortex_times: float | Image, *, turned: bool = False) -> Bone:
    """Return the unbroken femur, of a leg that lies straight or ``turned`` outwards."""
    part, points = (hip.turned, hip.turned_points) if turned else (hip.neutral, hip.points)
    return Bone(part.whole, part.cortex(cortex_times), points, np.zeros((0, 2)))


def draw(label: str, rng: np.random.Generator, *, old: bool = False) -> Fracture:
    """Draw a fracture of this class."""
    seed = int(rng.integers(1 << 31))
    if label == "intracapsular":
        kind = rng.choice(["displaced", "undisplaced", "impacted"], p=[0.6, 0.22, 0.18])
    elif label == "trochanteric":
        kind = rng.choice(["A1", "A2", "A3"], p=[0.4, 0.42, 0.18])
    else:
        kind = rng.choice(["transverse", "oblique"])
    calm = kind in ("undisplaced", "impacted") or (kind == "A1" and rng.random() < 0.45)
    moved = 0.0 if calm else float(rng.uniform(4, 24))
    angle = float(rng.normal(0, 2)) if calm else float(rng.normal(18, 12))
    if kind == "impacted":
        angle, moved = -float(rng.uniform(8, 22)), float(rng.uniform(1, 4))
    gap = float(rng.uniform(0.7, 1.8)) if kind != "impacted" else -float(rng.uniform(1.5, 4))
    if old:
        moved, angle, gap, kind = moved * 0.12, angle * 0.15, -2.5, "healed"
    tilt = {"A3": 75.0, "oblique": 35.0}.get(str(kind), 0.0) * float(rng.choice([-1, 1]))
    return Fracture(
        label,
        str(kind),
        round(moved, 2),
        round(angle, 2),
        float(rng.random()),
        tilt + float(rng.normal(0, 7)),
        gap,
        bool(not calm and not old and rng.random() < 0.75),
        bool(kind == "A2" or (kind == "A3" and rng.random() < 0.3)) and not old,
        old,
        seed,
    )


def cut(fracture: Fracture, p: FemurPoints) -> tuple[Array, Array]:
    """Return the middle of the cut and its unit normal, pointing to the lower piece."""
    if fracture.label == "intracapsular":
        axis = p.neck_base - p.head
        middle = p.head + (0.38 + 0.3 * fracture.along) * axis
        normal = affine.turn(fracture.tilt_deg)[:2, :2] @ axis
    elif fracture.label == "trochanteric":
        low = p.lesser_trochanter + np.array([4.0, -6.0 + 12 * fracture.along])
        high = p.greater_trochanter + np.array([16.0, 14.0])
        middle = (low + high) / 2
        across = low - high
        if fracture.subtype == "A3":
            middle = middle + 0.35 * (p.shaft_near - p.neck_base)
        normal = np.array([-across[1], across[0]])
        normal = normal if normal[1] > 0 else -normal
        normal = affine.turn(fracture.tilt_deg)[:2, :2] @ normal
    else:
        axis = p.shaft_far - p.shaft_near
        middle = p.shaft_near + (-0.36 + 0.3 * fracture.along) * axis
        normal = affine.turn(fracture.tilt_deg)[:2, :2] @ axis
    return middle, normal / np.hypot(*normal)


def _field(points: FemurPoints, fracture: Fracture) -> Image:
    """Return the signed distance in mm from the ragged cut, positive below it."""
    middle, normal = cut(fracture, points)
    x, y = affine.mm(FEMUR_GRID)
    far = (x - middle[0]) * normal[0] + (y - middle[1]) * normal[1]
    along = (x - middle[0]) * normal[1] - (y - middle[1]) * normal[0]
    far = far + ragged(along, fracture.seed)
    if fracture.label == "intracapsular":  # the greater trochanter stays with the shaft
        far = np.maximum(far, _TROCHANTER_MM - _from_trochanter(points, x, y))
    return np.asarray(far)


def _from_trochanter(points: FemurPoints, x: Image, y: Image) -> Image:
    """Return the distance in mm from the middle of the greater trochanter."""
    middle = points.greater_trochanter + _TROCHANTER_AT
    return np.asarray(np.hypot(x - middle[0], y - middle[1]))


def ragged(along: Image | Array, seed: int) -> Array:
    """Return by how much the cut strays from a straight line, in mm."""
    rng = np.random.default_rng(seed)
    at = np.arange(-400.0, 400.0)
    noise = np.zeros(len(at))
    for width_mm, size_mm in ((16.0, 2.2), (5.0, 1.0), (2.0, 0.6), (0.9, 0.35)):
        octave = gaussian_filter1d(rng.standard_normal(len(at)), width_mm)
        noise += size_mm * rng.uniform(0.4, 1.5) * octave / octave.std()
    return np.interp(along, at, noise)


def soft_step(distance: Image, width_mm: float = 0.35) -> Image:
    """Return 0 well below a distance of 0 mm, 1 well above it."""
    step: Image = 1 / (1 + np.exp(-np.clip(distance / width_mm, -30, 30)))
    return step.astype(np.float32)


def break_bone(hip: Hip, cortex_times: float | Image, fracture: Fracture) -> Bone:
    """Return the broken femur; the pieces' landmarks move with them."""
    lower_part, lower_points = (
        (hip.turned, hip.turned_points) if fracture.turned else (hip.neutral, hip.points)
    )
    upper_cut, lower_cut = cut(fracture, hip.points), cut(fracture, lower_points)
    up_far, low_far = _field(hip.points, fracture), _field(lower_points, fracture)
    half = fracture.gap_mm / 2
    upper_mask, lower_mask = soft_step(-up_far - half), soft_step(low_far - half)
    upper_move, lower_move = _moves(hip, lower_points, upper_cut, lower_cut, fracture)
    layers = []
    for image, low_image in (
        (hip.neutral.whole, lower_part.whole),
        (hip.neutral.cortex(cortex_times), lower_part.cortex(cortex_times)),
    ):
        upper = moved(image * upper_mask, upper_move)
        layers.append(upper + moved(low_image * lower_mask, lower_move))
    whole, cortex = layers
    if abs(fracture.displacement_mm) + abs(fracture.angle_deg) < 6:
        whole, cortex = _subtle(hip.neutral, cortex_times, whole, cortex, fracture, up_far)
    if fracture.gap_mm < 0:  # crushed or healed: a dense, uneven band
        whole, cortex = _dense(whole, cortex, up_far, fracture)
    points = _moved_points(hip.points, lower_points, upper_move, lower_move)
    bone = Bone(whole, cortex, points, _line(hip, fracture, upper_move))
    return _chip(bone, fracture) if fracture.fragment else bone


def _moves(
    hip: Hip,
    lower_points: FemurPoints,
    upper_cut: tuple[Array, Array],
    lower_cut: tuple[Array, Array],
    fracture: Fracture,
) -> tuple[Array, Array]:
    """Return where the two pieces go: the head turns in its socket, the shaft rides up."""
    share = 0.6 if fracture.label == "intracapsular" else 0.4
    upper = affine.turn_about(-fracture.angle_deg * share, hip.points.head)
    swung = fracture.angle_deg * (1 - share) * 0.5 + fracture.swing_deg
    lower = affine.turn_about(swung, lower_cut[0])
    shaft = lower_points.shaft_near - lower_points.shaft_far
    ride = shaft / np.hypot(*shaft) * fracture.displacement_mm * 0.8
    ride = ride + np.array([fracture.aside * fracture.displacement_mm, 0.0])
    join = affine.apply(upper, upper_cut[0]) - lower_cut[0] + ride
    if not fracture.turned and fracture.displacement_mm == 0:
        join = affine.apply(upper, upper_cut[0]) - lower_cut[0]
    return upper, affine.shift(*join) @ lower


def moved(image: Image, move: Array) -> Image:
    """Return an image on the femur's grid, moved by a matrix in mm."""
    to_mm = affine.from_pixels(FEMUR_GRID)
    matrix = np.linalg.inv(to_mm) @ np.linalg.inv(move) @ to_mm
    return affine.resample(image, matrix, (FEMUR_GRID.rows, FEMUR_GRID.columns))


def _subtle(
    part: Part, times: float | Image, whole: Image, cortex: Image, fracture: Fracture, far: Image
) -> tuple[Image, Image]:
    """Let an undisplaced line show through only part of the bone's depth."""
    rng = np.random.default_rng(fracture.seed + 1)
    show = np.float32(rng.uniform(0.35, 0.9))
    near = np.exp(-((far / 8) ** 2)).astype(np.float32)
    if abs(fracture.angle_deg) > 1.0:
        return whole, cortex
    keep = (1 - show) * near + (1 - near)
    return part.whole * keep + whole * (1 - keep), part.cortex(times) * keep + cortex * (1 - keep)


def _dense(whole: Image, cortex: Image, far: Image, fracture: Fracture) -> tuple[Image, Image]:
    rng = np.random.default_rng(fracture.seed + 2)
    width = 1.6 if not fracture.old else 3.0
    band = np.exp(-((far / width) ** 2)).astype(np.float32)
    return whole, np.minimum(cortex + np.float32(rng.uniform(0.08, 0.2)) * whole * band, whole)


def _chip(bone: Bone, fracture: Fracture) -> Bone:
    """Break the lesser trochanter off and pull it up and inwards."""
    rng = np.random.default_rng(fracture.seed + 3)
    x, y = affine.mm(FEMUR_GRID)
    at = bone.points.lesser_trochanter
    centre = at + np.array([rng.uniform(-2, 4), rng.uniform(-3, 3)])
    off = np.hypot((x - centre[0]) / 1.0, (y - centre[1]) / 1.7) + ragged(y + 0 * x, fracture.seed)
    mask = soft_step((rng.uniform(9, 14) - off).astype(np.float32))
    pull = affine.shift(-rng.uniform(1, 7), -rng.uniform(-1, 6)) @ affine.turn_about(
        rng.uniform(-25, 5), at
    )
    share = np.float32(0.75)  # the piece lies at the back: the rest of the depth stays
    whole = bone.whole * (1 - share * mask) + moved(bone.whole * mask * share, pull)
    cortex = bone.cortex * (1 - share * mask) + moved(bone.cortex * mask * share, pull)
    return replace(bone, whole=whole, cortex=cortex)


def _moved_points(
    upper: FemurPoints, lower: FemurPoints, upper_move: Array, lower_move: Array
) -> FemurPoints:
    names = [n for n in FemurPoints.__dataclass_fields__ if n not in ("head", "head_radius")]
    values = {n: affine.apply(lower_move, getattr(lower, n)) for n in names}
    return FemurPoints(
        head=affine.apply(upper_move, upper.head), head_radius=upper.head_radius, **values
    )


def _line(hip: Hip, fracture: Fracture, move: Array) -> Array:
    """Return the cut as a polyline, where it runs through bone."""
    middle, normal = cut(fracture, hip.points)
    along = np.linspace(-60, 60, 121)
    direction = np.array([normal[1], -normal[0]])
    points = middle + along[:, None] * direction - ragged(along, fracture.seed)[:, None] * normal
    cell = np.linalg.inv(affine.from_pixels(FEMUR_GRID))
    column, row = np.round(affine.apply(cell, points)).astype(int).T
    inside = (row >= 0) & (row < FEMUR_GRID.rows) & (column >= 0) & (column < FEMUR_GRID.columns)
    whole = hip.neutral.whole
    bony = inside & (whole[row % whole.shape[0], column % whole.shape[1]] > 1)
    if fracture.label == "intracapsular":
        bony &= _from_trochanter(hip.points, points[:, 0], points[:, 1]) > _TROCHANTER_MM
    return affine.apply(move, points[bony])
