"""The papers' tables: figures with their intervals, by what a model does.

References
----------
Murphy 2022, Table 1, Figure 4, Discussion; Gale 2017, Tables 2 and 3; Yamamoto 2020, Tables 2 and
3 (seven metrics); Jang 2022, Results; DXA 2023, Table 1 (F1 micro and AUC for each class).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from hipnode.domain import TASKS
from hipnode.nets import BundleSpec
from hipnode.training.stats import estimates as est
from hipnode.training.stats import statistics as st


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None

    @staticmethod
    def of(name: str, estimate: est.Estimate) -> Figure:
        """Return an estimate as a figure."""
        return Figure(name, estimate.value, estimate.low, estimate.high)

    def __str__(self) -> str:
        if self.low is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Answers:
    """What a classifier said about a split, and what was true.

    ``actual`` (n,) int; ``probabilities`` (n, classes) calibrated; ``patients`` (n,); ``readers``
    maps a reader's name to (n,) class indices, -1 where the reader said nothing.
    """

    actual: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    patients: Sequence[str]
    readers: Mapping[str, NDArray[np.int64]]


def figures(spec: BundleSpec, answers: Answers) -> list[Figure]:
    """Return all figures of a classifier.

    Parameters
    ----------
    spec
        The model's: labels, which of them are positive, thresholds.
    answers
        Of one split.
    """
    actual, p = answers.actual, answers.probabilities
    columns = list(spec.positive_indices)
    positive, p_positive = np.isin(actual, columns), p[:, columns].sum(1)
    point = spec.operating_point
    thresholds = {"doubtful_from": point.doubtful_from, "present_from": point.present_from}
    found = table(actual, p, spec.labels, answers.patients)
    if len(spec.labels) == 2:
        found += binary(p_positive >= 0.5, positive)
    if any(row.is_graded for row in TASKS.values() if row.role is spec.role):
        found += risk(actual, p)
    found += at_thresholds(p_positive, positive, thresholds)
    found += balanced(p_positive, positive, thresholds)
    found += at_class_thresholds(spec, actual, p)
    found += readers(spec.labels, answers)
    return [
        *found,
        Figure.of("AUC, positive", est.auc(positive, p_positive, answers.patients)),
        Figure("calibration error", est.calibration_error(p_positive, positive)),
    ]


def table(
    actual: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    labels: Sequence[str],
    patients: Sequence[str],
) -> list[Figure]:
    """Return Murphy's Table 1 and Figure 4, and the coverage at an accuracy of 0.95."""
    counts = st.confusion(actual, probabilities.argmax(1), len(labels))
    found = [Figure.of("accuracy", st.accuracy(counts)), Figure.of("kappa", st.kappa(counts))]
    for one in st.per_class(counts, labels):
        found += [
            Figure.of(f"precision, {one.label}", one.precision),
            Figure.of(f"recall, {one.label}", one.recall),
            Figure(f"F1, {one.label}", one.f1),
        ]
    for index, label in enumerate(labels):
        area = est.auc(actual == index, probabilities[:, index], patients)
        found.append(Figure.of(f"AUC, {label}", area))
    covered, right = st.coverage_curve(probabilities, actual)
    enough = covered[right >= 0.95]
    found.append(Figure("coverage at accuracy 0.95", float(enough.max()) if enough.size else 0.0))
    return found


def binary(said: NDArray[np.bool_], positive: NDArray[np.bool_]) -> list[Figure]:
    """Return six of Yamamoto's seven metrics (2.8); accuracy and AUC stand elsewhere."""
    hit, miss = int((said & positive).sum()), int((~said & positive).sum())
    alarm, clear = int((said & ~positive).sum()), int((~said & ~positive).sum())
    both = 2 * hit + miss + alarm
    return [
        Figure.of("precision", est.proportion(hit, hit + alarm)),
        Figure.of("recall", est.proportion(hit, hit + miss)),
        Figure.of("specificity", est.proportion(clear, clear + alarm)),
        Figure.of("npv", est.proportion(clear, clear + miss)),
        Figure("F1", 2 * hit / both if both else float("nan")),
    ]


def risk(actual: NDArray[np.int64], p: NDArray[np.float64]) -> list[Figure]:
    """Return F1 with micro-averaging and the mean of the classes' AUCs (DXA 2023, Table 1)."""
    areas = [
        est.auc(actual == index, p[:, index], [str(i) for i in range(len(actual))], resamples=1)
        for index in range(p.shape[1])
    ]
    known = [one.value for one in areas if not np.isnan(one.value)]
    return [
        Figure("F1, micro", float(f1_score(actual, p.argmax(1), average="micro"))),
        Figure("AUC, average", float(np.mean(known)) if known else float("nan")),
    ]


def at_thresholds(
    p_positive: NDArray[np.float64], positive: NDArray[np.bool_], thresholds: dict[str, float]
) -> list[Figure]:
    """Return recall, precision, specificity and accuracy at each threshold (Gale 2017, Table 3)."""
    found = []
    for name, threshold in thresholds.items():
        said = p_positive >= threshold
        hits = int((said & positive).sum())
        both = int(said.sum() + positive.sum())
        found += [
            Figure.of(f"recall at {name}", est.proportion(hits, int(positive.sum()))),
            Figure.of(f"precision at {name}", est.proportion(hits, int(said.sum()))),
            Figure.of(
                f"specificity at {name}",
                est.proportion(int((~said & ~positive).sum()), int((~positive).sum())),
            ),
            Figure.of(
                f"accuracy at {name}", est.proportion(int((said == positive).sum()), len(said))
            ),
            Figure(f"F1 at {name}", 2 * hits / both if both else float("nan")),
        ]
    return found


def balanced(
    p_positive: NDArray[np.float64], positive: NDArray[np.bool_], thresholds: dict[str, float]
) -> list[Figure]:
    """Return accuracy, precision and F1 as they would be at a prevalence of one half.

    References
    ----------
    Gale 2017, Table 2: 348 fractures against as many images without, drawn at random; here the
    expectation over all draws, from recall and specificity.
    """
    found = []
    for name, threshold in thresholds.items():
        said = p_positive >= threshold
        if positive.all() or not positive.any():
            continue
        recall, clear = float(said[positive].mean()), float((~said[~positive]).mean())
        precision = st.at_prevalence(recall, clear, 0.5)
        total = precision + recall
        found += [
            Figure(f"accuracy at {name}, half fractured", (recall + clear) / 2),
            Figure(f"precision at {name}, half fractured", precision),
            Figure(
                f"F1 at {name}, half fractured",
                2 * precision * recall / total if total else float("nan"),
            ),
        ]
    return found


def at_class_thresholds(
    spec: BundleSpec, actual: NDArray[np.int64], p: NDArray[np.float64]
) -> list[Figure]:
    """Return what is left to the model, and how right it is there (Murphy 2022, Discussion)."""
    if not spec.class_thresholds:
        return []
    needed = np.array([spec.class_thresholds.get(label, 0.0) for label in spec.labels])
    named = p.argmax(1)
    kept = p.max(1) >= needed[named]
    right = int((named == actual)[kept].sum())
    return [
        Figure.of("coverage at class thresholds", est.proportion(int(kept.sum()), len(kept))),
        Figure.of("accuracy at class thresholds", est.proportion(right, int(kept.sum()))),
    ]


def readers(labels: Sequence[str], answers: Answers) -> list[Figure]:
    """Return each reader against the truth and the model, and the readers against each other.

    References
    ----------
    Murphy 2022, "Expert agreement" (kappa between two experts), "Hospital diagnosis compared to
    expert classification", and the comparison of both with CNN2.
    """
    found = []
    right = answers.probabilities.argmax(1) == answers.actual
    for name, said in answers.readers.items():
        spoke = said >= 0
        counts = st.confusion(answers.actual[spoke], said[spoke], len(labels))
        own = said[spoke] == answers.actual[spoke]
        found += [
            Figure.of(f"accuracy, reader {name}", st.accuracy(counts)),
            Figure.of(f"kappa, reader {name}", st.kappa(counts)),
            Figure(f"p, model against reader {name}", st.compare_paired(right[spoke], own)),
        ]
    for (one, said), (other, more) in combinations(answers.readers.items(), 2):
        spoke = (said >= 0) & (more >= 0)
        if spoke.any():
            counts = st.confusion(said[spoke], more[spoke], len(labels))
            found.append(Figure.of(f"kappa, readers {one} and {other}", st.kappa(counts)))
    return found
