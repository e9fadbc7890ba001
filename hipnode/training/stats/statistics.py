"""The papers' statistics, from statsmodels and scipy; `estimates` has what needs scipy alone.

References
----------
Murphy 2022, "Performance assessment": Clopper-Pearson intervals for precision and recall, Cohen's
kappa, 1000 bootstrap samples for the AUC. Gale 2017, 4: "exact Clopper-Pearson intervals".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.proportion import proportions_ztest

from hipnode.training.stats.estimates import Estimate, f1, over_patients, rate

Ints = NDArray[Any]


@dataclass(frozen=True)
class ClassFigures:
    """One class of a confusion table."""

    label: str
    precision: Estimate
    recall: Estimate
    specificity: Estimate
    f1: Estimate
    support: int


def confusion(
    actual: Sequence[int] | NDArray[Any], predicted: Sequence[int] | NDArray[Any], classes: int
) -> NDArray[np.int64]:
    """Return counts (actual, predicted)."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (np.asarray(actual), np.asarray(predicted)), 1)
    return table


def accuracy(actual: Ints, named: Ints, patients: Sequence[str]) -> Estimate:
    """Return the share that was named right, with an interval by patient."""
    return rate(np.asarray(actual) == named, np.ones(len(named), bool), patients)


def kappa(one: Ints, other: Ints, classes: int, patients: Sequence[str]) -> Estimate:
    """Return Cohen's kappa of two lists of classes.

    The interval is the asymptotic one where each patient is there once, else patients are drawn.
    """
    table = confusion(one, other, classes)
    result = cohens_kappa(table)
    if len(set(patients)) == len(patients):
        return Estimate(float(result.kappa), float(result.kappa_low), float(result.kappa_upp))
    cells = np.zeros((len(one), classes * classes))
    cells[np.arange(len(one)), np.asarray(one) * classes + np.asarray(other)] = 1

    def of(sums: NDArray[Any]) -> NDArray[Any]:
        shares = sums.reshape(-1, classes, classes) / sums.sum(1)[:, None, None]
        chance = (shares.sum(1) * shares.sum(2)).sum(1)
        agreed = np.trace(shares, axis1=1, axis2=2)
        value: NDArray[Any] = (agreed - chance) / (1 - chance)
        return value

    return over_patients(cells, patients, of)


def per_class(
    actual: Ints, named: Ints, labels: Sequence[str], patients: Sequence[str]
) -> list[ClassFigures]:
    """Return precision, recall, specificity and F1 of every class, with intervals by patient."""
    figures = []
    for index, label in enumerate(labels):
        is_it, said = np.asarray(actual) == index, np.asarray(named) == index
        figures.append(
            ClassFigures(
                label=label,
                precision=rate(is_it, said, patients),
                recall=rate(said, is_it, patients),
                specificity=rate(~said, ~is_it, patients),
                f1=f1(said, is_it, patients),
                support=int(is_it.sum()),
            )
        )
    return figures


def compare_paired(right_a: NDArray[Any], right_b: NDArray[Any]) -> float:
    """Return McNemar's exact p-value for two readers of the same images."""
    a, b = np.asarray(right_a, bool), np.asarray(right_b, bool)
    table = [[int((a & b).sum()), int((a & ~b).sum())], [int((~a & b).sum()), int((~a & ~b).sum())]]
    return float(mcnemar(table, exact=True).pvalue)


def compare_proportions(right_a: NDArray[Any], right_b: NDArray[Any]) -> float:
    """Return the p-value of two shares, as if they were of other images (Murphy 2022, Discussion).

    Of the same images it is too large where both err alike: `compare_paired` is the right test.
    """
    hits, counts = [int(right_a.sum()), int(right_b.sum())], [len(right_a), len(right_b)]
    if sum(hits) in {0, sum(counts)}:
        return 1.0
    return float(proportions_ztest(hits, counts)[1])


def independent(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the p-value that two yes-or-no answers have nothing to do with each other.

    Chi-squared without a correction; 1 where one of them is always the same.
    """
    table = np.array([[(a & b).sum() for b in (other, ~other)] for a in (one, ~one)])
    if 0 in table.sum(0) or 0 in table.sum(1):
        return 1.0
    return float(chi2_contingency(table, correction=False).pvalue)


def coverage_curve(
    probabilities: NDArray[Any], actual: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return coverage and accuracy as the threshold on the confidence rises.

    References
    ----------
    Murphy 2022, Discussion: accuracy 95 % at a coverage of 87 %.
    """
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == actual
    order = np.argsort(-confidence, kind="stable")
    count = np.arange(1, len(order) + 1)
    return count / len(order), np.cumsum(right[order]) / count


def at_prevalence(recall: float, specificity: float, prevalence: float) -> float:
    """Return the precision that recall and specificity give at another prevalence (Gale 2017)."""
    hit, alarm = recall * prevalence, (1 - specificity) * (1 - prevalence)
    return hit / (hit + alarm) if hit + alarm else float("nan")
