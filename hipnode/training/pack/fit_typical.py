"""What its training images look like to a network: the gate against images unlike them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf

from hipnode.nets.bundle.typical import Typical, unit

FEWEST: Final = 200
"""Training images below which nothing is known about what is usual."""
KEPT: Final = 0.99
"""Share of the validation split that the gate lets through."""

_LARGEST: Final = 2.0**15
"""Of the whitening's factors, as a bundle keeps them: half of what a 16-bit float can be."""


def fit(
    embedding: NDArray[np.float32],
    classes: NDArray[Any],
    validation: NDArray[np.float32],
    kept: float = KEPT,
) -> Typical | None:
    """Fit class means, one covariance and the limit; None where there are too few images.

    Parameters
    ----------
    embedding
        (n, features) of training images as serving prepares them.
    classes
        (n,) int.
    validation
        (m, features) of the validation split: the limit lets the share ``kept`` of it through.

    References
    ----------
    Lee 2018 (class means, tied covariance); Ledoit and Wolf 2004 (shrinkage).
    """
    if len(embedding) < FEWEST or not len(validation):
        return None
    at = unit(embedding).astype(np.float64)
    present = np.unique(classes)
    means = np.stack([at[classes == label].mean(0) for label in present])
    around = at - means[np.searchsorted(present, classes)]
    precision = LedoitWolf(assume_centered=True).fit(around).precision_
    whitening = np.linalg.cholesky(precision).astype(np.float32)
    # Embeddings that hardly differ give factors beyond 16 bits; a distance has no unit.
    whitening /= max(1.0, float(np.abs(whitening).max()) / _LARGEST)
    # rounded as a bundle keeps them, so that the limit is of what will be measured
    kept_as = Typical(means.astype(np.float32), whitening, float("inf")).arrays()
    means, whitening = (kept_as[name].astype(np.float32) for name in ("means", "whitening"))
    free = Typical(means, whitening, float("inf"))
    limit = float(np.quantile(free.distance(validation), kept))
    return Typical(free.means, whitening, limit)
