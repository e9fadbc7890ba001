"""Everything around the bones: body, thighs, fat, gas, the lumbar spine, clutter.

All as path lengths in mm of water, or of compact bone for the spine, in the plane of the hips.
"""

from __future__ import annotations

import numpy as np

from hipnode.phantom import affine
from hipnode.phantom.bones import Array
from hipnode.phantom.meshes import Grid, Image
from hipnode.phantom.people import Person

_REACH_MM = 60.0
"""Beyond this a vertebra, however tilted, adds nothing that a pixel could show."""
SPINE_GRID = Grid(-60.0, -500.0, 0.5, 890, 240)


def _smooth(value: Image) -> Image:
    t = np.clip(value, 0, 1)
    out: Image = t * t * (3 - 2 * t)
    return out


def body(x: Image, y: Image, person: Person, reach_mm: float, rng: np.random.Generator) -> Image:
    """Return the thickness of soft tissue in mm of water; wider than ``reach_mm``."""
    heavy = person.bmi - 25
    depth = 205 + 7 * heavy + rng.normal(0, 10)
    skin = 14 + max(0.0, 2.5 * (heavy + 8)) + abs(rng.normal(0, 8))
    half = reach_mm + skin
    width = half * (1 - 0.12 * _smooth((-y - 40) / 150))
    crotch = 88 + rng.normal(0, 8)
    trunk = depth * np.sqrt(np.maximum(1 - (x / width) ** 2, 0))
    hem = crotch + 0.0022 * x * x + rng.normal(0, 6) * np.cos(x / 40)
    trunk = trunk * (1 - _smooth((y - hem + 70) / 85))
    radius = 0.5 * (reach_mm + 0.8 * skin)
    spread = rng.uniform(0.0, 0.1)
    thighs = np.zeros_like(trunk)
    for sign in (-1, 1):
        below = np.maximum(y - crotch + 15, 0)
        slim = radius * (1 - 0.10 * _smooth(below / 180))
        off = (x - sign * (radius + 1 + spread * below)) / slim
        thighs = np.maximum(thighs, 1.8 * slim * np.sqrt(np.maximum(1 - off**2, 0)))
    thighs = thighs * _smooth((y + 110) / 150)
    whole = (trunk**6 + thighs**6) ** (1 / 6)
    fat = np.clip(14 + 2.2 * heavy, 8, 60)
    muscle = depth * np.sqrt(np.maximum(1 - (x / (width - fat)) ** 2, 0)) * 0.09
    clouds = affine.crop(affine.texture("clouds"), whole.shape, rng)
    whole = whole * (0.9 + 0.02 * clouds) + muscle * (1 - _smooth((y - 40) / 120))
    out: Image = np.maximum(whole, 0).astype(np.float32)
    return out


def folds(x: Image, y: Image, rng: np.random.Generator) -> Image:
    """Return the extra thickness of skin folds and muscle edges, in mm."""
    out = np.zeros(np.broadcast(x, y).shape, dtype=np.float32)
    for _ in range(int(rng.integers(1, 5))):
        at, slope, bend = rng.uniform(20, 130), rng.normal(0, 0.15), rng.normal(0, 0.0015)
        sign = rng.choice([-1, 1])
        line = y - at - slope * x - bend * x * x
        out += np.float32(rng.uniform(2, 9)) * _smooth(sign * line / rng.uniform(2, 8) + 0.5)
    return out


def gas(x: Image, y: Image, rng: np.random.Generator) -> Image:
    """Return the depth of bowel gas in mm, to be taken off the soft tissue."""
    out = np.zeros(np.broadcast(x, y).shape, dtype=np.float32)
    clouds = affine.texture("clouds")
    shape: tuple[int, int] = (y.shape[0], x.shape[1])
    x = x + 7 * affine.crop(clouds, shape, rng)
    y = y + 7 * affine.crop(clouds, shape, rng)
    for _ in range(int(rng.integers(2, 22))):
        cx, cy = rng.normal(0, 75), rng.uniform(-230, -30)
        if rng.random() < 0.3:
            cx, cy = rng.normal(0, 22), rng.uniform(-80, 10)
        a, b = np.exp(rng.normal(2.3, 0.5, 2))
        angle = rng.uniform(0, np.pi)
        u = ((x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)) / a
        v = (-(x - cx) * np.sin(angle) + (y - cy) * np.cos(angle)) / b
        inside = np.maximum(1.1 - u * u - v * v, 0)
        out += np.float32(rng.uniform(4, 28)) * np.minimum(np.sqrt(inside), 1)
    mottle = affine.crop(clouds, shape, rng)
    where = np.exp(-(((x - rng.normal(0, 40)) / 60) ** 2) - ((y + rng.uniform(40, 150)) / 50) ** 2)
    out += (np.maximum(mottle - 0.3, 0) * where * rng.uniform(0, 14)).astype(np.float32)
    return np.minimum(out, 60)


def spine(top: tuple[float, float], dense: float, rng: np.random.Generator) -> Image:
    """Return the lower lumbar spine in mm of compact bone, on ``SPINE_GRID``."""
    x, y = affine.mm(SPINE_GRID)
    out = np.zeros((SPINE_GRID.rows, SPINE_GRID.columns), dtype=np.float32)
    bend = rng.normal(0, 0.7)
    at = np.array([0.0, top[1] + rng.uniform(2, 12)])
    for level in range(12):
        tilt = bend * level + rng.normal(0, 1)
        weave = affine.crop(affine.texture("trabecular"), out.shape, rng)
        near = slice(*np.searchsorted(y[:, 0], (at[1] - _REACH_MM, at[1] + _REACH_MM)))
        out[near] += _vertebra(x, y[near], at, tilt, dense, level, weave[near])
        step = affine.turn(tilt)[:2, :2] @ np.array([0.0, -1.0])
        at = at + step * rng.uniform(34, 38)
    return out


def _vertebra(
    x: Image, y: Image, at: Array, tilt: float, dense: float, level: int, weave: Image
) -> Image:
    c, s = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    u, v = (x - at[0]) * c + (y - at[1]) * s, -(x - at[0]) * s + (y - at[1]) * c
    high = 13.5 if level else 11.5
    half = 23.0 + 2.5 * (np.abs(v) / high) ** 2
    inside = 1 / (1 + np.exp(np.clip((np.abs(u) - half) / 0.7, -30, 30)))
    inside = inside / (1 + np.exp(np.clip((np.abs(v) - high) / 0.6, -30, 30)))
    depth = 30 * np.sqrt(np.maximum(1 - (u / 28) ** 2, 0))
    bone = inside * depth * 0.24 * dense * (1 + 0.15 * weave)
    tall = 1.2 + 0.06 * np.sqrt(np.maximum(0, 24**2 - u * u))
    for edge in (-high, high):  # end plates, seen a little from above or below
        bone += 3.2 * dense * np.exp(-(((v - edge) / tall) ** 2)) * (np.abs(u) < half)
    bone += 3.0 * np.exp(-(((np.abs(u) - half) / 0.9) ** 2)) * (np.abs(v) < high) * dense
    ring = np.hypot((np.abs(u) - 14.5) / 4.5, (v + 3) / 6.5)
    bone += 3.6 * dense * np.exp(-(((ring - 1) / 0.22) ** 2)) + 1.2 * dense * (ring < 1)
    spike = np.hypot(u / (3.2 + 0.12 * v), (v - 9) / 12)
    bone += 3.5 * dense * np.exp(-(((spike - 1) / 0.25) ** 2)) + 2.0 * dense * (spike < 1)
    facet = np.hypot((np.abs(u) - 16) / 5, (v - 15) / 8)
    bone += 2.6 * dense * np.exp(-(((facet - 1) / 0.35) ** 2)) + 1.6 * dense * (facet < 1)
    if level:
        wing = np.hypot((np.abs(u) - 36) / 13, (v + 4 + 0.1 * np.abs(u)) / 4.2)
        bone += 1.3 * dense * (np.exp(-(((wing - 1) / 0.3) ** 2)) + (wing < 1))
    out: Image = bone.astype(np.float32)
    return out


def clutter(x: Image, y: Image, rng: np.random.Generator) -> Image:
    """Return tubing, leads, clips and seams in mm of water-like matter."""
    out = np.zeros(np.broadcast(x, y).shape, dtype=np.float32)
    for _ in range(int(rng.integers(1, 4))):
        at, slope = rng.uniform(-160, 160), rng.normal(0, 0.5)
        size, length = rng.uniform(4, 25), rng.uniform(25, 90)
        wave = size * np.sin(y.astype(np.float64) / length + rng.uniform(0, 6))
        off = np.abs(x - at - slope * y - wave)
        radius = rng.uniform(1.0, 3.5)
        wall = 2 * np.sqrt(np.maximum(radius**2 - off**2, 0))
        hole = 2 * np.sqrt(np.maximum((0.6 * radius) ** 2 - off**2, 0))
        out += ((wall - hole) * rng.uniform(1, 4)).astype(np.float32)
    return out
