"""Two models on the same patients: the area under the curve, compared as it must be.

References
----------
DeLong 1988, Biometrics 44:837 (placements); Obuchowski 1997, Biometrics 53:567 (clustered data);
Holm 1979, Scand J Stat 6:65; Satterthwaite 1946, Biometrics Bull 2:110.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hipnode.errors import InputRefused
from hipnode.training.stats.estimates import Estimate


@dataclass(frozen=True)
class Area:
    """An area under the curve, and what patients and networks trained anew add to its error.

    ``errors`` (patients,) in the order of sorted names; their sum is 0, and that of their squares
    the variance. ``runs``: of each system trained more than once the variance of its mean over
    seeds, and the degrees of freedom. Areas of the same patients may be averaged and subtracted.
    """

    value: float
    errors: NDArray[np.float64]
    runs: tuple[tuple[float, int], ...] = ()

    @property
    def deviation(self) -> float:
        """The standard error; patients and networks are the units."""
        return float(np.sqrt(self._of_patients + sum(variance for variance, _ in self.runs)))

    @property
    def _of_patients(self) -> float:
        count = len(self.errors)
        return float((self.errors**2).sum() * count / max(1, count - 1))

    @property
    def _freedom(self) -> float:
        """Degrees of freedom (Satterthwaite); those of the patients count as without end."""
        few = sum(variance**2 / freedom for variance, freedom in self.runs)
        return self.deviation**4 / few if few else float("inf")

    @property
    def estimate(self) -> Estimate:
        """The area, or a difference, with its 95 % interval; none is beyond 1."""
        reach = float(stats.t.ppf(0.975, self._freedom)) * self.deviation
        return Estimate(self.value, max(-1, self.value - reach), min(1, self.value + reach))

    @property
    def p(self) -> float:
        """Of the hypothesis that this is 0, two-sided."""
        if self.deviation == 0:
            return float(self.value == 0)
        return float(2 * stats.t.sf(abs(self.value) / self.deviation, self._freedom))

    def __sub__(self, other: Area) -> Area:
        return Area(self.value - other.value, self.errors - other.errors, self.runs + other.runs)


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
        tuple((v / len(areas) ** 2, freedom) for one in areas for v, freedom in one.runs),
    )


def trained_again(seeds: Sequence[Area]) -> Area:
    """Return the mean over seeds of one system, with what other seeds would change.

    Of a single seed that cannot be known: its area is returned as it is.
    """
    found = mean_area(seeds)
    if len(seeds) < 2:
        return found
    spread = float(np.var([one.value for one in seeds], ddof=1)) / len(seeds)
    return replace(found, runs=(*found.runs, (spread, len(seeds) - 1)))


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
