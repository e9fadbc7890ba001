"""Temperature and operating points, both from the validation split alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.metrics import precision_recall_curve


def temperature(logits: NDArray[Any], actual: NDArray[Any]) -> float:
    """Return the temperature in [0.25, 8] that makes the validation split most likely.

    Parameters
    ----------
    logits
        (n, classes).
    actual
        (n,) int.
    """

    def surprise(log_t: float) -> float:
        scores = log_softmax(logits / np.exp(log_t), axis=1)
        return -float(scores[np.arange(len(actual)), actual].mean())

    found = minimize_scalar(surprise, bounds=(np.log(0.25), np.log(8.0)), method="bounded")
    return float(np.exp(found.x))


def probabilities(logits: NDArray[Any], at: float) -> NDArray[np.float64]:
    """Return calibrated probabilities (n, classes)."""
    return np.asarray(softmax(np.asarray(logits, np.float64) / at, axis=1), np.float64)


def operating_point(
    p_positive: NDArray[Any], positive: NDArray[Any], *, recall: float, precision: float
) -> tuple[float, float]:
    """Choose the two thresholds.

    Parameters
    ----------
    p_positive
        (n,) calibrated.
    positive
        (n,) bool.
    recall
        What ``doubtful_from`` must reach.
    precision
        What ``present_from`` must reach.

    Returns
    -------
    doubtful_from, present_from
        The highest threshold with that recall, at most 0.5; the lowest with that precision, at
        least 0.5. A validation split that is separated perfectly must not push them together.

    References
    ----------
    Gale 2017, 4: "two operating points, with high precision and high recall".
    """
    found, reached, thresholds = precision_recall_curve(positive, p_positive)
    enough = thresholds[reached[:-1] >= recall]
    doubtful = float(enough.max()) if enough.size else 0.0
    sure = thresholds[found[:-1] >= precision]
    present = float(sure.min()) if sure.size else 1.0
    return round(min(doubtful, 0.5), 4), round(max(present, 0.5), 4)
