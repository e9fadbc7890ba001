"""Figures with intervals, from numpy and scipy alone: what the plain installation can work out.

References
----------
Murphy 2022, "Performance assessment" (Clopper-Pearson, bootstrap of the AUC); Wilson 1927, JASA
22:209; Field and Welsh 2007, JRSS B 69:369 (bootstrap of clusters).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

_SEED: Final = 2022


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; nan where it is not defined."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


UNDEFINED: Final = Estimate(np.nan, np.nan, np.nan)


def proportion(
    successes: int, trials: int, method: Literal["exact", "wilson"] = "exact"
) -> Estimate:
    """Return a proportion with its exact (Clopper-Pearson) or Wilson interval."""
    if trials == 0:
        return UNDEFINED
    interval = stats.binomtest(successes, trials).proportion_ci(0.95, method)
    return Estimate(successes / trials, float(interval.low), float(interval.high))


@dataclass(frozen=True)
class Share:
    """So many of so many, with an interval and how it was made."""

    count: int
    of: int
    estimate: Estimate
    by_patient: bool  # the interval is a bootstrap of patients, else Wilson's


def share(hits: Sequence[bool], patients: Sequence[str], *, resamples: int = 2000) -> Share:
    """Return a proportion whose interval knows that images of one patient resemble each other.

    Parameters
    ----------
    hits
        (n,) what counts.
    patients
        (n,) whose it is.
    resamples
        Bootstrap samples.

    Notes
    -----
    Where each patient is there once, Wilson's interval. Else patients are drawn, not images. A
    share of none or of all, in which every bootstrap sample agrees, gets Wilson's interval for as
    many trials as there are patients.
    """
    count, total = int(sum(hits)), len(hits)
    _, owner = np.unique(np.asarray(patients, str), return_inverse=True)
    owners = int(owner.max()) + 1 if total else 0
    if owners == total:
        return Share(count, total, proportion(count, total, "wilson"), by_patient=False)
    if count in (0, total):
        wide = proportion(owners if count else 0, owners, "wilson")
        return Share(count, total, wide, by_patient=True)
    weight = np.bincount(owner).astype(float)
    hit = np.bincount(owner, weights=np.asarray(hits, float))
    rng = np.random.default_rng(_SEED)
    drawn = rng.multinomial(owners, np.full(owners, 1 / owners), size=resamples)
    low, high = np.quantile((drawn @ hit) / (drawn @ weight), [0.025, 0.975])
    return Share(count, total, Estimate(count / total, float(low), float(high)), by_patient=True)


def rate(hits: NDArray[Any], among: NDArray[Any], patients: Sequence[str]) -> Estimate:
    """Return the share of ``hits`` in what is ``among``, with an interval by patient.

    Parameters
    ----------
    hits, among
        (n,) bool.
    patients
        (n,) whose it is.

    Notes
    -----
    Where no patient is there twice, the papers' exact interval; else patients are drawn: two hips
    of one person are no two experiments.
    """
    kept = np.flatnonzero(among)
    names = [patients[int(index)] for index in kept]
    right = np.asarray(hits, bool)[kept]
    if len(set(names)) == len(names):
        return proportion(int(right.sum()), len(right))
    return share(right.tolist(), names).estimate


def over_patients(
    counts: NDArray[Any],
    patients: Sequence[str],
    figure: Callable[[NDArray[Any]], NDArray[Any]],
    *,
    resamples: int = 1000,
) -> Estimate:
    """Return a figure of sums over samples; the interval draws patients.

    Parameters
    ----------
    counts
        (n, k) what each sample adds to k sums.
    patients
        (n,) whose it is.
    figure
        Sums (m, k) to (m,) values.
    resamples
        Bootstrap samples.
    """
    _, owner = np.unique(np.asarray(patients, str), return_inverse=True)
    owners = int(owner.max()) + 1
    own = np.zeros((owners, counts.shape[1]))
    np.add.at(own, owner, counts)
    drawn = np.random.default_rng(_SEED).multinomial(
        owners, np.full(owners, 1 / owners), size=resamples
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        value, spread = float(figure(own.sum(0, keepdims=True))[0]), figure(drawn @ own)
    if not np.isfinite(spread).any():
        return Estimate(value, np.nan, np.nan)
    low, high = np.nanquantile(spread, [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def f1(said: NDArray[Any], positive: NDArray[Any], patients: Sequence[str]) -> Estimate:
    """Return twice the hits over what was said and what was so; the interval draws patients."""
    said, positive = np.asarray(said, bool), np.asarray(positive, bool)
    counts = np.stack([said & positive, said, positive], 1).astype(float)
    return over_patients(counts, patients, lambda sums: 2 * sums[:, 0] / (sums[:, 1] + sums[:, 2]))


def area(positive: NDArray[Any], score: NDArray[Any]) -> float:
    """Return the area under the ROC curve from ranks (Mann-Whitney); nan for one class alone.

    Parameters
    ----------
    positive
        (n,) bool.
    score
        (n,) higher is more positive.
    """
    positive = np.asarray(positive, bool)
    hits = int(positive.sum())
    if hits in (0, len(positive)):
        return float("nan")
    ranks = stats.rankdata(score)
    over = ranks[positive].sum() - hits * (hits + 1) / 2
    return float(over / (hits * (len(positive) - hits)))


def auc(
    positive: NDArray[Any], score: NDArray[Any], patients: Sequence[str], *, resamples: int = 1000
) -> Estimate:
    """Return the area under the ROC curve; the bootstrap draws patients, not images.

    Parameters
    ----------
    positive
        (n,) bool.
    score
        (n,) higher is more positive.
    patients
        (n,) whose image it is.
    resamples
        Bootstrap samples; Murphy 2022 took 1000.
    """
    positive = np.asarray(positive, bool)
    if positive.all() or not positive.any():
        return UNDEFINED
    names, owner = np.unique(np.asarray(patients), return_inverse=True)
    members = [np.flatnonzero(owner == index) for index in range(len(names))]

    def once(chosen: NDArray[np.int64]) -> float:
        index = np.concatenate([members[int(one)] for one in chosen])
        return area(positive[index], score[index])

    rng = np.random.default_rng(_SEED)
    values = [once(rng.integers(0, len(names), len(names))) for _ in range(resamples)]
    low, high = np.nanquantile(values, [0.025, 0.975])
    return Estimate(area(positive, score), float(low), float(high))


def calibration_error(p: NDArray[Any], positive: NDArray[Any], bins: int = 10) -> float:
    """Return the expected calibration error of P(positive) over bins of equal width."""
    p, positive = np.asarray(p, float), np.asarray(positive, float)
    place = np.minimum((p * bins).astype(int), bins - 1)
    gaps = [
        (place == index).mean() * abs(p[place == index].mean() - positive[place == index].mean())
        for index in range(bins)
        if (place == index).any()
    ]
    return float(np.sum(gaps))
