"""How far simulated images are from real ones, by statistics that ignore anatomy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from PIL import Image as Pillow

from hipnode.phantom.bones import Array

EDGE_PX: Final = 256
_BANDS: Final = np.geomspace(1.5, EDGE_PX / 2, 15)
_SHARES: Final = (5, 10, 25, 40, 50, 60, 75, 90, 95, 99)
NAMES: Final = (
    tuple(f"grey {q} %" for q in _SHARES)
    + tuple(f"gradient {q} %" for q in (25, 50, 75, 90, 95, 99))
    + tuple(f"power band {k}" for k in range(14))
)


@dataclass(frozen=True, slots=True)
class Distance:
    """How real and simulated images differ; 0 and 0.5 would be perfect."""

    mean_shift: float  # mean over the features of |difference| in pooled deviations
    auc: float  # of a linear classifier between them, left-out images only
    worst: tuple[tuple[str, float], ...]  # the features furthest apart, with their sign


def features(pixels: Array) -> Array:
    """Return the statistics of one image, bright bone, of any size and depth."""
    picture = Pillow.fromarray(np.asarray(pixels, dtype=np.float32))
    grey = np.asarray(picture.resize((EDGE_PX, EDGE_PX), Pillow.Resampling.BOX))
    low, high = np.percentile(grey, [0.5, 99.5])
    grey = np.clip((grey - low) / max(float(high - low), 1e-6), 0, 1)
    gradient = np.hypot(*np.gradient(grey))
    wave = np.abs(np.fft.fft2(grey - grey.mean())) ** 2
    k = np.fft.fftfreq(EDGE_PX) * EDGE_PX
    radius = np.hypot(k[:, None], k[None, :])
    bands = [
        np.log10(wave[(radius >= a) & (radius < b)].mean() + 1e-9) for a, b in pairwise(_BANDS)
    ]
    slopes = np.log10(np.percentile(gradient, [25, 50, 75, 90, 95, 99]) + 1e-4)
    return np.concatenate([np.percentile(grey, _SHARES), slopes, bands])


def distance(real: Sequence[Array], simulated: Sequence[Array]) -> Distance:
    """Compare two sets of images."""
    a, b = (np.stack([features(p) for p in group]) for group in (real, simulated))
    spread = np.sqrt((a.var(0) + b.var(0)) / 2) + 1e-9
    shift = (b.mean(0) - a.mean(0)) / spread
    order = np.argsort(-np.abs(shift))[:8]
    worst = tuple((NAMES[i], round(float(shift[i]), 2)) for i in order)
    return Distance(float(np.abs(shift).mean()), _auc(a, b), worst)


def _auc(a: Array, b: Array, folds: int = 10) -> float:
    """Return the cross-validated AUC of shrunken linear discriminant analysis."""
    x, y = np.concatenate([a, b]), np.repeat([0, 1], [len(a), len(b)])
    x = (x - x.mean(0)) / (x.std(0) + 1e-9)
    fold = np.concatenate([np.arange(len(a)) % folds, np.arange(len(b)) % folds])
    score = np.zeros(len(y))
    for k in range(folds):
        train, test = fold != k, fold == k
        means = [x[train & (y == c)].mean(0) for c in (0, 1)]
        within = sum(np.cov(x[train & (y == c)].T) for c in (0, 1)) / 2
        within = 0.7 * within + 0.3 * np.eye(x.shape[1])
        weight = np.linalg.solve(within, means[1] - means[0])
        score[test] = x[test] @ weight - (means[0] + means[1]) @ weight / 2
    wins = score[y == 1][:, None] > score[y == 0][None, :]
    return float(wins.mean())
