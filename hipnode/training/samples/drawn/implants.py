"""Implants drawn onto real hips, so that real images appear with metal and without.

The shapes are those of common implants, and metal is as bright beside the bone as the exposure
lets it be: white on most films, a grey hardly above the bone's on an underexposed one. They stand
in for images that this project does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hipnode.training.samples.drawn.fractures import HipPoints

Field = NDArray[Any]  # (s, s) floating
Vector = NDArray[Any]  # (2,) floating
_FAINT: Final = 0.4
"""The share of implants that are hardly brighter than the bone."""


def add_metal(image: Field, points: HipPoints, rng: np.random.Generator) -> Field:
    """Return ``image`` (s, s) in [0, 1] with an implant of a random kind."""
    size = image.shape[0]
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = np.meshgrid(axis, axis)
    kinds = sorted(_KINDS)
    parts = _KINDS[kinds[int(rng.integers(len(kinds)))]](_Femur.of(points, x, y, rng), rng)
    depth = np.minimum.reduce(parts)
    edge = rng.uniform(0.9, 1.6) / size
    cover = 1 / (1 + np.exp(np.clip(depth / edge, -30, 30)))  # 1 inside the metal
    drawn = _faint(image, cover, rng) if rng.random() < _FAINT else _white(image, cover, rng)
    return np.asarray(drawn.clip(0, 1), np.float32)


def _white(image: Field, cover: Field, rng: np.random.Generator) -> Field:
    level = rng.uniform(0.8, 1.0)
    alpha = rng.uniform(0.8, 1.0)
    drawn = image * (1 - alpha * cover) + level * alpha * cover
    # metal sets the window of the picture: the rest looks darker
    return np.asarray(drawn * np.where(cover > 0.5, 1.0, rng.uniform(0.55, 1.0)))


def _faint(image: Field, cover: Field, rng: np.random.Generator) -> Field:
    """Add what metal adds on a dim film, where the bone still shows through it."""
    contrast = rng.uniform(0.9, 2.2) * float(image.std())
    dim = rng.uniform(0.4, 1.0)
    return np.asarray((image + contrast * cover) * dim)


@dataclass(frozen=True)
class _Femur:
    """Where an implant's parts go, in the crop's own length; ``unit``: head to neck base."""

    x: Field
    y: Field
    head: Vector
    neck: Vector
    down: Vector  # along the shaft, a unit vector
    lateral: Vector  # across it
    unit: float

    @staticmethod
    def of(points: HipPoints, x: Field, y: Field, rng: np.random.Generator) -> _Femur:
        head, neck, shaft = (np.array(at) for at in (points.head, points.neck, points.shaft))
        unit = float(np.hypot(*(neck - head)))
        down = (shaft - neck) / max(float(np.hypot(*(shaft - neck))), 1e-6)
        lateral = np.array([down[1], -down[0]])
        lateral *= np.sign(lateral @ (np.array(points.greater) - neck)) or 1.0
        slip = rng.normal(0, 0.06 * unit, (2, 2))
        return _Femur(x, y, head + slip[0], neck + slip[1], down, lateral, unit)

    def at(self, across: float, along: float) -> Vector:
        """Return a place beside the neck's base, in units across and along the shaft."""
        return np.asarray(self.neck + self.unit * (across * self.lateral + along * self.down))

    def disc(self, centre: Vector, radius: float) -> Field:
        """Return the signed distance to a disc of a radius in units, negative inside."""
        far = np.hypot(self.x - centre[0], self.y - centre[1])
        return np.asarray(far - radius * self.unit, np.float32)

    def rod(self, start: Vector, end: Vector, radius: float, taper: float = 0.0) -> Field:
        """Return the signed distance to a rod, thicker by ``taper`` of it at its start."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        share = ((self.x - start[0]) * dx + (self.y - start[1]) * dy) / (dx * dx + dy * dy + 1e-9)
        share = np.clip(share, 0, 1)
        far = np.hypot(self.x - start[0] - share * dx, self.y - start[1] - share * dy)
        thick = radius * self.unit * (1 + taper * (1 - 2 * share))
        return np.asarray(far - thick, np.float32)


def _stem(f: _Femur, rng: np.random.Generator) -> list[Field]:
    core, thick = f.at(0.15, 0), rng.uniform(0.13, 0.26)
    return [
        f.rod(f.head, core, thick * 0.8),
        f.rod(core, f.at(0.1, rng.uniform(1.8, 4.0)), thick, 0.35),
    ]


def _half(f: _Femur, rng: np.random.Generator) -> list[Field]:
    return [f.disc(f.head, rng.uniform(0.5, 0.8)), *_stem(f, rng)]


def _total(f: _Femur, rng: np.random.Generator) -> list[Field]:
    outer, ball = rng.uniform(0.75, 0.95), rng.uniform(0.35, 0.5)
    cup = np.maximum(f.disc(f.head, outer), -f.disc(f.head, outer - rng.uniform(0.1, 0.2)))
    parts = [cup, f.disc(f.head, ball), *_stem(f, rng)]
    return parts if rng.random() < 0.8 else parts[1:]  # a cup of plastic does not show


def _plate(f: _Femur, rng: np.random.Generator, top: float) -> list[Field]:
    """A plate beside the shaft with its screws; now and then off the bone."""
    off, end = rng.uniform(0.5, 0.9), rng.uniform(1.2, 3.5)
    thick = rng.uniform(0.05, 0.12)
    parts = [f.rod(f.at(off, top), f.at(off + rng.normal(0, 0.1), end), thick)]
    for along in np.arange(rng.uniform(0.5, 0.9), end, rng.uniform(0.3, 0.6)):
        if rng.random() < 0.8:
            inside = f.at(off - rng.uniform(0.5, 0.9), along + rng.normal(0, 0.05))
            parts.append(f.rod(f.at(off, along), inside, rng.uniform(0.03, 0.07)))
    return parts


def _sliding_screw(f: _Femur, rng: np.random.Generator) -> list[Field]:
    return [*_plate(f, rng, 0.0), f.rod(f.head, f.at(0.65, 0.4), rng.uniform(0.08, 0.15))]


def _blade_plate(f: _Femur, rng: np.random.Generator) -> list[Field]:
    return [*_plate(f, rng, -0.2), f.rod(f.at(-0.9, -0.3), f.at(0.7, -0.2), rng.uniform(0.06, 0.1))]


def _locking_plate(f: _Femur, rng: np.random.Generator) -> list[Field]:
    parts = [*_plate(f, rng, 0.1), f.rod(f.at(0.45, -0.7), f.at(0.7, 0.2), rng.uniform(0.05, 0.12))]
    for start in rng.uniform(-0.5, 0.6, int(rng.integers(2, 4))):
        tip = f.head + rng.normal(0, 0.15 * f.unit, 2)
        parts.append(f.rod(f.at(0.65, float(start)), tip, rng.uniform(0.04, 0.08)))
    return parts


def _nail(f: _Femur, rng: np.random.Generator) -> list[Field]:
    thick = rng.uniform(0.1, 0.22)
    end = f.at(0.1, rng.uniform(1.5, 4.5))
    parts = [f.rod(f.at(rng.uniform(0.1, 0.4), -rng.uniform(0.7, 1.3)), end, thick, 0.1)]
    if rng.random() < 0.7:  # an older nail is a plain rod
        parts.append(f.rod(f.head, f.at(0.75, 0.5), rng.uniform(0.07, 0.14)))
    if rng.random() < 0.3:
        parts.append(f.rod(f.head + 0.3 * f.unit * f.lateral, f.at(0.7, 0.25), 0.06))
    return parts


def _screws(f: _Femur, rng: np.random.Generator) -> list[Field]:
    parts = []
    for _ in range(int(rng.integers(2, 5))):
        aside = rng.normal(0, 0.18 * f.unit, 2)
        start, thick = f.at(rng.uniform(0.6, 0.85), 0.35) + aside, rng.uniform(0.04, 0.09)
        parts.append(f.rod(start, f.head + aside * rng.uniform(0.5, 1.2), thick))
        if rng.random() < 0.5:  # a washer
            parts.append(f.disc(start, thick * 1.8))
    return parts


def _wires(f: _Femur, rng: np.random.Generator) -> list[Field]:
    """Loops round the shaft, or a band from the trochanter down."""
    parts, thick = [], rng.uniform(0.025, 0.05)
    for along in np.cumsum(rng.uniform(0.2, 0.6, int(rng.integers(2, 5)))):
        tilt = rng.normal(0, 0.1)
        parts.append(f.rod(f.at(0.55, along + tilt), f.at(-0.5, along - tilt), thick))
        if rng.random() < 0.5:
            parts.append(f.rod(f.at(0.55, along + tilt), f.at(-0.5, along - tilt + 0.15), thick))
    if rng.random() < 0.4:
        parts += [f.rod(f.at(0.4 + one, -0.7), f.at(0.4 + one, 0.7), thick) for one in (0, 0.25)]
    return parts


_KINDS: Final[dict[str, Callable[[_Femur, np.random.Generator], list[Field]]]] = {
    "blade_plate": _blade_plate,
    "cannulated_screws": _screws,
    "hemiarthroplasty": _half,
    "locking_plate": _locking_plate,
    "nail": _nail,
    "sliding_screw": _sliding_screw,
    "total": _total,
    "wires": _wires,
}
