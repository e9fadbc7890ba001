"""Two models on the same patients: the area under the curve, compared as it must be.

References
----------
DeLong 1988, Biometrics 44:837 (placements); Obuchowski 1997, Biometrics 53:567 (clustered data);
Holm 1979, Scand J Stat 6:65.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hipnode.errors import InputRefused
from hipnode.training.stats.estimates import Estimate


@dataclass(frozen=True)
class Area:
    """An area under the curve, and what each patient adds to its error.

    ``errors`` (patients,) in the order of sorted names; their sum is 0, and that of their squares
    the variance. Areas of the same patients may be averaged and subtracted.
    """

    value: float
    errors: NDArray[np.float64]

    @property
    def deviation(self) -> float:
        """The standard error; patients are the units."""
        count = len(self.errors)
        return float(np.sqrt((self.errors**2).sum() * count / max(1, count - 1)))

    @property
    def estimate(self) -> Estimate:
        """The area, or a difference, with its 95 % interval; none is beyond 1."""
        reach = 1.959964 * self.deviation
        return Estimate(self.value, max(-1, self.value - reach), min(1, self.value + reach))

    @property
    def p(self) -> float:
        """Of the hypothesis that this is 0, two-sided."""
        if self.deviation == 0:
            return 1.0
        return float(2 * stats.norm.sf(abs(self.value) / self.deviation))

    def __sub__(self, other: Area) -> Area:
        return Area(self.value - other.value, self.errors - other.errors)


def area(positive: NDArray[Any], score: NDArray[Any], patients: Sequence[str]) -> Area:
    """Return the area under the ROC curve, with each patient's part of its error.

    Parameters
    ----------
    positive
        (n,) bool; both classes must be there.
    score
        (n,) higher is more positive.
    patients
        (n,) whose it is.
    """
    positive = np.asarray(positive, bool)
    score = np.asarray(score, float)
    _, owner = np.unique(np.asarray(patients, str), return_inverse=True)
    ranks, own = stats.rankdata(score), np.zeros(len(score))
    for which in (positive, ~positive):
        own[which] = stats.rankdata(score[which])
    hits, rest = int(positive.sum()), int((~positive).sum())
    placed = np.where(positive, (ranks - own) / rest, 1 - (ranks - own) / hits)
    value = float(placed[positive].mean())
    errors = np.zeros(int(owner.max()) + 1)
    np.add.at(errors, owner, (placed - value) / np.where(positive, hits, rest))
    return Area(value, errors)


def mean_of(values: NDArray[Any], patients: Sequence[str]) -> Area:
    """Return a mean as an area is returned, for values (n,) that are each a patient's."""
    _, owner = np.unique(np.asarray(patients, str), return_inverse=True)
    value = float(np.mean(values))
    errors = np.zeros(int(owner.max()) + 1)
    np.add.at(errors, owner, (values - value) / len(values))
    return Area(value, errors)


def mean_area(areas: Sequence[Area]) -> Area:
    """Return the mean of areas of the same patients: over classes, seeds or networks."""
    return Area(
        float(np.mean([one.value for one in areas])),
        np.mean([one.errors for one in areas], axis=0),
    )


def macro_area(actual: NDArray[Any], p: NDArray[Any], patients: Sequence[str]) -> Area:
    """Return the mean over classes of each one against the rest; of two, that of the second.

    Parameters
    ----------
    actual
        (n,) class indices.
    p
        (n, classes) probabilities.
    patients
        (n,) whose it is.

    Raises
    ------
    InputRefused
        If all are of one class.
    """
    if len(np.unique(actual)) < 2:
        raise InputRefused("all samples are of one class: no area under the curve can be had")
    if p.shape[1] == 2:
        return area(actual == 1, p[:, 1], patients)
    return mean_area(
        [
            area(actual == k, p[:, k], patients)
            for k in range(p.shape[1])
            if 0 < (actual == k).sum() < len(actual)
        ]
    )


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for as many tests, in the order given."""
    order = np.argsort(values)
    found, last = [0.0] * len(values), 0.0
    for rank, index in enumerate(order):
        last = max(last, min(1.0, values[index] * (len(values) - rank)))
        found[index] = last
    return found
