"""Implants drawn onto real hips, so that real images appear with metal and without.

The shapes are those of five common implants, bright and sharp-edged as metal is. They stand in
for images that this project does not have.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hipnode.training.samples.drawn.fractures import HipPoints

Field = NDArray[Any]  # (s, s) floating
Place = tuple[float, float] | NDArray[Any]
KINDS: Final = ("hemiarthroplasty", "total", "sliding_screw", "nail", "cannulated_screws")


def add_metal(image: Field, points: HipPoints, rng: np.random.Generator) -> Field:
    """Return ``image`` (s, s) in [0, 1] with an implant of a random kind."""
    size = image.shape[0]
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = np.meshgrid(axis, axis)
    depth = _implant(str(rng.choice(KINDS)), points, x, y, rng)
    edge = 1.2 / size
    cover = 1 / (1 + np.exp(np.clip(depth / edge, -30, 30)))  # 1 inside the metal
    level = rng.uniform(0.88, 1.0)
    alpha = rng.uniform(0.85, 1.0)
    drawn = image * (1 - alpha * cover) + level * alpha * cover
    # metal sets the window of the picture: the rest looks darker
    drawn = drawn * np.where(cover > 0.5, 1.0, rng.uniform(0.55, 1.0))
    return np.asarray(drawn.clip(0, 1), np.float32)


def _implant(kind: str, points: HipPoints, x: Field, y: Field, rng: np.random.Generator) -> Field:
    """Return the signed distance to the implant's outline, negative inside."""
    head, neck = np.array(points.head), np.array(points.neck)
    shaft = np.array(points.shaft)
    unit = float(np.hypot(*(neck - head)))
    down = (shaft - neck) / max(float(np.hypot(*(shaft - neck))), 1e-6)
    lateral = np.array([down[1], -down[0]])
    lateral *= np.sign(lateral @ (np.array(points.greater) - neck)) or 1.0
    jitter = rng.normal(0, 0.06 * unit, (6, 2))
    low = neck + down * unit * rng.uniform(1.8, 4.0) + jitter[0]
    core = neck + lateral * 0.15 * unit + jitter[1]
    thick = unit * rng.uniform(0.16, 0.26)
    if kind in {"hemiarthroplasty", "total"}:
        ball = _disc(x, y, head + jitter[2], unit * rng.uniform(0.5, 0.75))
        parts = [ball, _capsule(x, y, head, core, thick * 0.8), _taper(x, y, core, low, thick)]
        if kind == "total":
            cup = _disc(x, y, head + jitter[2], unit * 0.9)
            parts[0] = np.maximum(cup, -_disc(x, y, head + jitter[2], unit * 0.74))
            parts.append(_disc(x, y, head + jitter[2], unit * 0.45))
        return _union(parts)
    screw = unit * rng.uniform(0.09, 0.15)
    if kind == "cannulated_screws":
        outside = neck + lateral * 0.75 * unit + down * 0.3 * unit
        return _union(
            [
                _capsule(x, y, head + one, outside + one + jitter[4], screw * 0.7)
                for one in (jitter[2] * 3, jitter[3] * 3, jitter[5] * 3)[: int(rng.integers(2, 4))]
            ]
        )
    if kind == "nail":
        top = neck - down * 0.9 * unit + lateral * 0.35 * unit
        body = _capsule(x, y, top, low, thick * 0.8)
        start = neck + lateral * 0.8 * unit + down * 0.5 * unit
        return np.minimum(body, _capsule(x, y, head, start, screw))
    side = neck + lateral * 0.62 * unit + down * 0.2 * unit
    plate = _capsule(x, y, side, side + down * unit * rng.uniform(1.2, 3.0), screw * 0.8)
    parts = [plate, _capsule(x, y, head, side + down * 0.2 * unit, screw)]
    for step in np.arange(0.7, 2.6, 0.45):
        start = side + down * unit * step
        parts.append(_capsule(x, y, start, start - lateral * 0.7 * unit, screw * 0.5))
    return _union(parts)


def _union(parts: list[Field]) -> Field:
    return np.asarray(np.minimum.reduce(parts))


def _disc(x: Field, y: Field, centre: NDArray[np.float64], radius: float) -> Field:
    return np.asarray(np.hypot(x - centre[0], y - centre[1]) - radius, np.float32)


def _capsule(x: Field, y: Field, start: Place, end: Place, radius: float) -> Field:
    distance, _ = _along(x, y, start, end)
    return np.asarray(distance - radius, np.float32)


def _taper(x: Field, y: Field, start: Place, end: Place, radius: float) -> Field:
    """A stem: wide above, narrow below."""
    distance, share = _along(x, y, start, end)
    return np.asarray(distance - radius * (1.3 - 0.7 * share), np.float32)


def _along(x: Field, y: Field, start: Place, end: Place) -> tuple[Field, Field]:
    dx, dy = end[0] - start[0], end[1] - start[1]
    share = ((x - start[0]) * dx + (y - start[1]) * dy) / (dx * dx + dy * dy + 1e-9)
    share = np.clip(share, 0, 1)
    return np.hypot(x - start[0] - share * dx, y - start[1] - share * dy), share
