"""Other pictures of the same patient for the gate: turned, framed closer, or with an edge around.

Most archives hold far more whole pelves than views of one hip. A part of a pelvis around one hip
looks much like one, and a pelvis between bright or black shutters is still a pelvis.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hipnode.domain import Box
from hipnode.training.samples.drawn.plan import Drawing

Pixels = NDArray[np.float32]
_TRIES: Final = 40
_OTHER_HIP: Final = 0.45
"""A view of one hip shows at most this share of the other's width."""
_BRIGHT: Final = 0.2
"""The share of edges that are of unexposed film."""


def reframe(pixels: Pixels, boxes: Sequence[Box], drawing: Drawing, key: str) -> Pixels:
    """Return a whole image (rows, columns) as a drawing asks for it.

    Parameters
    ----------
    pixels
        (rows, columns) float32 in [0, 1].
    boxes
        Of its hips.
    drawing
        What.
    key
        Names the image: the same key and drawing give the same pixels.
    """
    if drawing.kind == "turned":
        return np.ascontiguousarray(np.rot90(pixels, drawing.number))
    seed = hashlib.sha256(f"{key}:{drawing.kind}:{drawing.number}".encode()).digest()[:8]
    rng = np.random.default_rng(int.from_bytes(seed, "big"))
    if drawing.kind == "bordered":
        return _bordered(pixels, rng)
    if drawing.kind == "collimated":
        return _cut(pixels, *_around_all(boxes, rng))
    part = _around_one(pixels, boxes, drawing.number % len(boxes), rng)
    if drawing.kind == "one_hip_turned":
        part = np.ascontiguousarray(np.rot90(part, int(rng.integers(1, 4))))
    return part


def _bordered(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    rows, columns = pixels.shape
    widths = rng.uniform(0, 0.25, 4) * (rng.random(4) < 0.5) * (rows, rows, columns, columns)
    top, bottom, left, right = (int(width) for width in widths)
    level = 0.95 if rng.random() < _BRIGHT else 0.0
    return np.pad(pixels, ((top, bottom), (left, right)), constant_values=level)


def _around_all(boxes: Sequence[Box], rng: np.random.Generator) -> tuple[float, ...]:
    """Return x0, y0, x1, y1 around all hips: as narrowly as a technician may collimate."""
    x0, y0 = min(box.x0 for box in boxes), min(box.y0 for box in boxes)
    x1, y1 = max(box.x1 for box in boxes), max(box.y1 for box in boxes)
    left, right = ((x1 - x0) * rng.uniform(-0.02, 0.25) for _ in range(2))
    above, below = (y1 - y0) * rng.uniform(0.1, 1.8), (y1 - y0) * rng.uniform(0, 0.8)
    return x0 - left, y0 - above, x1 + right, y1 + below


def _around_one(
    pixels: Pixels, boxes: Sequence[Box], which: int, rng: np.random.Generator
) -> Pixels:
    """Return a part of the image in which one hip is whole and the other at most begins."""
    box, others = boxes[which], [one for index, one in enumerate(boxes) if index != which]
    edge = max(box.width_px, box.height_px)
    for _ in range(_TRIES):
        width = edge * rng.uniform(1.5, 3.4)
        height = width * rng.uniform(0.9, 1.4)
        x = (box.x0 + box.x1) / 2 + width * rng.uniform(-0.2, 0.2) - width / 2
        y = (box.y0 + box.y1) / 2 + height * rng.uniform(-0.12, 0.25) - height / 2
        whole = (
            box.x0 >= x - 0.1 * edge
            and box.x1 <= x + width + 0.1 * edge
            and box.y0 >= y
            and box.y1 <= y + height + 0.15 * edge
        )
        seen = [min(one.x1, x + width) - max(one.x0, x) for one in others]
        alone = all(s <= _OTHER_HIP * one.width_px for s, one in zip(seen, others, strict=True))
        if whole and alone:
            return _cut(pixels, x, y, x + width, y + height)
    return _cut(pixels, box.x0, box.y0, box.x1, box.y1)


def _cut(pixels: Pixels, x0: float, y0: float, x1: float, y1: float) -> Pixels:
    rows, columns = pixels.shape
    left, top = int(max(0, x0)), int(max(0, y0))
    right, bottom = int(min(columns, max(x1, left + 1))), int(min(rows, max(y1, top + 1)))
    part: NDArray[Any] = pixels[top:bottom, left:right]
    return np.ascontiguousarray(part, np.float32)
