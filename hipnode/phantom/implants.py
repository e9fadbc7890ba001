"""Metal in the hip, as path lengths of rods, balls and shells on the femur's grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hipnode.phantom import affine
from hipnode.phantom.anatomy import FEMUR_GRID
from hipnode.phantom.bones import Array
from hipnode.phantom.femur import FemurPoints
from hipnode.phantom.meshes import Image


@dataclass(frozen=True, slots=True)
class Implant:
    """Metal in mm, and the share of the femur's bone that is left where it sits."""

    kind: str
    metal: Image
    keep: Image


def build(kind: str, p: FemurPoints, rng: np.random.Generator) -> Implant:
    """Return an implant that fits this femur, in the femur's own plane."""
    x, y = affine.mm(FEMUR_GRID)
    keep = np.ones((FEMUR_GRID.rows, FEMUR_GRID.columns), dtype=np.float32)
    if kind in ("hemi", "total"):
        metal = _stem(x, y, p, kind, rng)
        axis = (p.neck_base - p.head) / np.hypot(*(p.neck_base - p.head))
        far = (x - p.head[0]) * axis[0] + (y - p.head[1]) * axis[1]
        resection = 0.68 * np.hypot(*(p.neck_base - p.head))
        keep = 1 / (1 + np.exp(-np.clip((far - resection) / 0.4, -30, 30)))
    elif kind == "sliding_screw":
        metal = _lag_screw(x, y, p, rng) + _side_plate(x, y, p, rng)
    elif kind == "nail":
        metal = _nail(x, y, p, rng)
    elif kind == "screws":
        metal = _three_screws(x, y, p, rng)
    else:
        metal = _side_plate(x, y, p, rng, high=-8.0) + _thread(
            x, y, p.lateral + np.array([0, 2.0]), p.head + 0.5 * (p.neck - p.head), 2.6
        )
    return Implant(kind, metal.astype(np.float32), np.asarray(keep, dtype=np.float32))


def _stem(x: Image, y: Image, p: FemurPoints, kind: str, rng: np.random.Generator) -> Image:
    down = (p.shaft_far - p.shaft_near) / np.hypot(*(p.shaft_far - p.shaft_near))
    long = rng.uniform(75, 110)
    shoulder = p.neck_base - down * rng.uniform(2, 8)
    tip = p.shaft_near + down * (long - 45)
    radius = 24.5 if kind == "hemi" else rng.choice([14.0, 16.0, 18.0])
    if kind == "hemi":
        radius = p.head_radius + rng.uniform(1.0, 2.2)
    ball = affine.rod(x, y, p.head, p.head, radius, radius)
    if kind == "hemi" and rng.random() < 0.6:  # a bipolar head is a shell round a smaller ball
        ball = ball - 0.75 * affine.rod(x, y, p.head, p.head, radius - 4, radius - 4)
        ball = np.maximum(ball, affine.rod(x, y, p.head, p.head, 13, 13))
    neck = affine.rod(x, y, p.head, shoulder, 6.0, 7.5)
    metaphysis = affine.rod(x, y, shoulder, p.shaft_near, rng.uniform(9, 12), 7.0)
    stem = affine.rod(x, y, p.shaft_near, tip, 7.0, rng.uniform(3.5, 5.5))
    metal = np.maximum(np.maximum(ball, neck), np.maximum(metaphysis, stem))
    return np.maximum(metal, _cup(x, y, p, radius, rng)) if kind == "total" else metal


def _cup(x: Image, y: Image, p: FemurPoints, ball: float, rng: np.random.Generator) -> Image:
    outer = p.head_radius + rng.uniform(2, 5)
    shell = affine.rod(x, y, p.head, p.head, outer, outer)
    shell = shell - affine.rod(x, y, p.head, p.head, outer - rng.uniform(2.5, 4.5), outer - 3.5)
    open_at = np.radians(rng.uniform(35, 55))
    far = -(x - p.head[0]) * np.sin(open_at) - (y - p.head[1]) * np.cos(open_at)
    far = far + 0.25 * np.sqrt(np.maximum(outer**2 - (x - p.head[0]) ** 2, 0)) * rng.uniform(0, 1)
    metal: Image = np.maximum(shell, 0) / (1 + np.exp(-np.clip(far / 0.5, -30, 30)))
    if rng.random() < 0.4:
        up = p.head + np.array([-0.5, -0.85]) * outer
        metal = np.maximum(metal, _thread(x, y, up, up + np.array([-9.0, -22.0]), 2.8))
    return metal * (1.0 if ball else 0.0)


def _thread(x: Image, y: Image, a: Array, b: Array, radius: float) -> Image:
    """Return a screw from a (head) to b (tip)."""
    along, across, length = affine.along_line(x, y, a, b)
    wave = 1 + 0.14 * np.sin(2 * np.pi * along / 2.2)
    wave = np.where(along > 0.6 * length, wave, 0.85)
    inside = (along > 0) & (along < length)
    body = 2 * np.sqrt(np.maximum((radius * wave) ** 2 - across**2, 0)) * inside
    hole = 2 * np.sqrt(np.maximum((0.35 * radius) ** 2 - across**2, 0)) * inside
    head = affine.rod(x, y, a, a + 3 * (b - a) / length, 1.6 * radius, 1.4 * radius)
    out: Image = np.maximum(body - hole, head)
    return out


def _lag_screw(x: Image, y: Image, p: FemurPoints, rng: np.random.Generator) -> Image:
    tip = p.head + (p.head - p.neck_base) / np.hypot(*(p.head - p.neck_base)) * rng.uniform(6, 13)
    start = p.neck_base + 1.05 * (p.neck_base - p.neck)
    barrel = affine.rod(x, y, start, start + 0.45 * (tip - start), 6.3, 6.3)
    return np.maximum(barrel, _thread(x, y, start, tip, 4.8))


def _side_plate(
    x: Image, y: Image, p: FemurPoints, rng: np.random.Generator, high: float = 5.0
) -> Image:
    down = (p.shaft_far - p.shaft_near) / np.hypot(*(p.shaft_far - p.shaft_near))
    out = np.array([-down[1], down[0]])
    out = out if out[0] > 0 else -out
    holes = int(rng.integers(3, 6))
    face = p.shaft_near + out * 17.5
    top = face - down * (np.dot(p.shaft_near - p.lateral, down) - high)
    end = face + down * (18.0 * holes - 30)
    metal = np.minimum(affine.rod(x, y, top, end, 3.2, 3.0) * 2.6, 15)
    for k in range(holes):
        at = end - down * (8 + 17.0 * k)
        metal = np.maximum(metal, _thread(x, y, at + out * 3, at - out * 33, 2.2))
    return metal


def _nail(x: Image, y: Image, p: FemurPoints, rng: np.random.Generator) -> Image:
    down = (p.shaft_far - p.shaft_near) / np.hypot(*(p.shaft_far - p.shaft_near))
    top = p.neck_base - down * (np.dot(p.neck_base - p.greater_trochanter, down) + 3)
    long = rng.uniform(60, 150)
    end = p.shaft_near + down * long
    nail = np.maximum(
        affine.rod(x, y, top, p.shaft_near, 8.2, 6.0), affine.rod(x, y, p.shaft_near, end, 6.0, 5.2)
    )
    nail = nail - 0.8 * affine.rod(x, y, top, end, 2.3, 2.3)
    out = np.array([-down[1], down[0]])
    lock = end - down * rng.uniform(14, 24)
    bolt = _thread(x, y, lock + out * 18, lock - out * 18, 2.5)
    return np.maximum(np.maximum(nail, bolt), _lag_screw(x, y, p, rng))


def _three_screws(x: Image, y: Image, p: FemurPoints, rng: np.random.Generator) -> Image:
    axis = (p.head - p.neck_base) / np.hypot(*(p.head - p.neck_base))
    across = np.array([-axis[1], axis[0]])
    metal = np.zeros((FEMUR_GRID.rows, FEMUR_GRID.columns), dtype=np.float32)
    for offset in (-8.0, 7.0, rng.uniform(-3, 3))[: int(rng.integers(2, 4))]:
        tip = p.head + axis * rng.uniform(6, 14) + across * offset * 0.8
        start = p.neck_base - axis * rng.uniform(22, 30) + across * offset
        metal = np.maximum(metal, _thread(x, y, start, tip, 3.4))
    return metal
