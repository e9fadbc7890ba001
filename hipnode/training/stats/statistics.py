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
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.inter_rater import cohens_kappa

from hipnode.training.stats.estimates import Estimate, proportion


@dataclass(frozen=True)
class ClassFigures:
    """One class of a confusion table."""

    label: str
    precision: Estimate
    recall: Estimate
    specificity: Estimate
    f1: float
    support: int


def confusion(
    actual: Sequence[int] | NDArray[Any], predicted: Sequence[int] | NDArray[Any], classes: int
) -> NDArray[np.int64]:
    """Return counts (actual, predicted)."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (np.asarray(actual), np.asarray(predicted)), 1)
    return table


def accuracy(table: NDArray[np.int64]) -> Estimate:
    """Return the share on the diagonal, with its exact interval."""
    return proportion(int(np.trace(table)), int(table.sum()))


def kappa(table: NDArray[np.int64]) -> Estimate:
    """Return Cohen's kappa of a square table of counts, with its asymptotic interval."""
    result = cohens_kappa(table)
    return Estimate(float(result.kappa), float(result.kappa_low), float(result.kappa_upp))


def per_class(table: NDArray[np.int64], labels: Sequence[str]) -> list[ClassFigures]:
    """Return precision, recall, specificity and F1 of every class of (actual, predicted) counts."""
    figures = []
    for index, label in enumerate(labels):
        hit = int(table[index, index])
        found, real, total = table[:, index].sum(), table[index].sum(), table.sum()
        rejected = int(total - found - real + hit)
        figures.append(
            ClassFigures(
                label=label,
                precision=proportion(hit, int(found)),
                recall=proportion(hit, int(real)),
                specificity=proportion(rejected, int(total - real)),
                f1=2 * hit / float(found + real) if found + real else np.nan,
                support=int(real),
            )
        )
    return figures


def compare_paired(right_a: NDArray[Any], right_b: NDArray[Any]) -> float:
    """Return McNemar's exact p-value for two readers of the same images."""
    a, b = np.asarray(right_a, bool), np.asarray(right_b, bool)
    table = [[int((a & b).sum()), int((a & ~b).sum())], [int((~a & b).sum()), int((~a & ~b).sum())]]
    return float(mcnemar(table, exact=True).pvalue)


def compare_proportions(hits_a: int, n_a: int, hits_b: int, n_b: int) -> float:
    """Return Fisher's exact p-value for two independent proportions."""
    return float(stats.fisher_exact([[hits_a, n_a - hits_a], [hits_b, n_b - hits_b]]).pvalue)


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
