"""Temperature and operating points, both from the validation split alone."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from mapie.risk_control import BinaryClassificationController
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import betaincinv, log_softmax, softmax
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


_FEW: Final = 50
_BANDS: Final = 11
"""So many lower, and upper, ends of a band are looked at."""


@dataclass(frozen=True)
class Thresholds:
    """Two thresholds on P(positive), and what is known about them."""

    doubtful_from: float
    present_from: float
    promise: str


def operating_point(
    p_positive: NDArray[Any],
    positive: NDArray[Any],
    *,
    recall: float,
    precision: float,
    confidence: float = 0.9,
) -> Thresholds:
    """Choose the two thresholds.

    Where the split is large enough, they are the ones that risk control certifies: with this
    confidence, images like these reach the recall (or precision) at the threshold. Else they are
    those that reach it on the split itself, and the promise says so.

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
    confidence
        Of the guarantee.

    Returns
    -------
    Thresholds
        The highest threshold with that recall, at most 0.5; the lowest with that precision, at
        least 0.5. A validation split that is separated perfectly must not push them together.

    References
    ----------
    Gale 2017, 4: "two operating points, with high precision and high recall". Angelopoulos 2021,
    Learn then Test (MAPIE's `BinaryClassificationController`).
    """
    found, reached, thresholds = precision_recall_curve(positive, p_positive)
    enough = thresholds[reached[:-1] >= recall]
    sure = thresholds[found[:-1] >= precision]
    sides = []
    for name, level, plain in (
        ("recall", recall, float(enough.max()) if enough.size else 0.0),
        ("precision", precision, float(sure.min()) if sure.size else 1.0),
    ):
        certified = certify(p_positive, positive, name, level, confidence)
        word = "not certified" if certified is None else f"certified at {confidence:.0%}"
        # two thresholds are chosen: each promise holds by itself
        sides.append((plain if certified is None else certified, f"{name} {level:g} {word}"))
    (doubtful, first), (present, second) = sides
    return Thresholds(
        round(min(doubtful, 0.5), 4), round(max(present, 0.5), 4), f"{first}, {second}"
    )


def certify(
    p: NDArray[Any], positive: NDArray[Any], risk: str, level: float, confidence: float
) -> float | None:
    """Return the best threshold on ``p`` that risk control certifies, or None.

    Parameters
    ----------
    p, positive
        (n,) probability and truth.
    risk
        ``recall`` or ``precision``.
    level
        What it must reach.
    confidence
        That it does on images like these.
    """
    positive = np.asarray(positive, int)
    if len(positive) < 2 or positive.min() == positive.max():
        return None
    p = np.asarray(p, float)
    # Candidates by the scores alone, each with enough images above it to say anything.
    top = 1 - min(1.0, max(_FEW, len(p) / 10) / len(p))
    candidates = np.unique(np.quantile(p, np.linspace(0, top, 60)).clip(0, 0.9999))
    both = np.stack([1 - p, p], 1)
    control = BinaryClassificationController(
        lambda known: known,
        risk,
        target_level=level,
        confidence_level=confidence,
        fwer_method="fixed_sequence",
        list_predict_params=candidates,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MAPIE warns where no threshold can be certified
        control.calibrate(both, positive)
    best = control.best_predict_param
    return None if best is None else float(best)


def with_band(
    point: dict[str, Any],
    p_positive: NDArray[Any],
    positive: NDArray[Any],
    *,
    share: float,
    broken: float,
    confidence: float,
) -> dict[str, Any]:
    """Return an operating point with the band in which further imaging pays, if there is one.

    Parameters
    ----------
    point
        The two thresholds; the band lies around ``doubtful_from``, below ``present_from``.
    p_positive, positive
        (n,) calibrated probability, and truth, of the validation split.
    share
        The most of all images that the band may hold.
    broken
        In the band at least this share is broken, and at least this share is not: with this
        confidence, by exact intervals, shared among all the bands that are looked at.
    confidence
        Of that.

    Returns
    -------
    dict
        With ``equivocal_from`` and ``equivocal_to`` of the widest such band; as it was where the
        split does not show one.

    References
    ----------
    Gale 2017, 1 (5 to 10 % go on to CT or MRI; a third of these is broken). Clopper and Pearson
    1934 (exact intervals); Bonferroni.
    """
    p, truth = np.asarray(p_positive, float), np.asarray(positive, bool)
    middle, top = float(point["doubtful_from"]), float(point["present_from"])
    steps = np.linspace(0, 1, _BANDS)
    lows = np.unique(np.minimum(np.round(middle * (1 - steps), 4), middle))
    highs = np.unique(np.clip(np.round(middle + (top - middle) * steps, 4), middle, top))
    each = (1 - confidence) / (2 * len(lows) * len(highs))
    best: tuple[int, float, float] | None = None
    for low in lows:
        for high in highs:
            inside = (p >= low) & (p < high)
            n, hits = int(inside.sum()), int(truth[inside].sum())
            if not n or n > share * len(p) or (best is not None and n <= best[0]):
                continue
            if min(_at_least(hits, n, each), _at_least(n - hits, n, each)) >= broken:
                best = n, float(low), float(high)
    if best is None:
        return point | {
            "chosen_on": f"{point['chosen_on']}; no band of equivocal ones is certified"
        }
    n, low, high = best
    said = f"{n} of {len(p)} from {low:g} to {high:g}, certified at {confidence:.0%} to be"
    said += f" {broken:.0%} broken and {broken:.0%} whole at least"
    chosen_on = f"{point['chosen_on']}; equivocal: {said}"
    return point | {"equivocal_from": low, "equivocal_to": high, "chosen_on": chosen_on}


def _at_least(hits: int, of: int, error: float) -> float:
    """Return the lower end of the exact interval of a proportion."""
    return float(betaincinv(hits, of - hits + 1, error)) if hits else 0.0


def class_thresholds(
    p: NDArray[Any], actual: NDArray[Any], precision: float, confidence: float = 0.9
) -> list[float | None]:
    """Return for each class the confidence from which its naming is certified to be right.

    Parameters
    ----------
    p
        (n, classes) calibrated.
    actual
        (n,) int.
    precision
        The share of right ones among those that are given the class, at least.
    confidence
        That all classes keep it on images like these.

    Returns
    -------
    list of float or None
        A hip whose likeliest class is less probable than its threshold goes to a person; None
        where the split is too small to certify any.

    References
    ----------
    Murphy 2022, Discussion: "more certainty for some classes than others by setting different
    thresholds for the scores and leaving uncertain radiographs to be analysed by an expert".
    """
    classes = p.shape[1]
    each = 1 - (1 - confidence) / classes  # Bonferroni: together they keep the confidence
    named, sure = p.argmax(1), p.max(1)
    return [
        certify(sure[named == index], actual[named == index] == index, "precision", precision, each)
        for index in range(classes)
    ]
