"""The papers' tables: figures with their intervals, by what a model does.

References
----------
Murphy 2022, Table 1, Figure 4, Discussion; Gale 2017, Tables 2 and 3; Yamamoto 2020, Tables 2 and
3 (seven metrics); Jang 2022, Results; DXA 2023, Table 1 (F1 micro and AUC for each class).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hipnode.domain import TASKS
from hipnode.nets import BundleSpec
from hipnode.training.stats import estimates as est
from hipnode.training.stats import statistics as st

_SURE: Final = 0.87
"""The share of images that a model is sure of and decides alone (Murphy 2022, Discussion)."""
FEWEST: Final = 10
"""Samples of a group that is judged by itself."""
_NAMED: Final = 12
"""So many of the groups that are too small are named."""


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
    maps a reader's name to (n,) class indices, -1 where the reader said nothing; ``subclasses`` to
    (n,) words, "" where the reader named none.
    """

    actual: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    patients: Sequence[str]
    readers: Mapping[str, NDArray[np.int64]]
    subclasses: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)


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
    whose = answers.patients
    if len(spec.labels) == 2:
        found += binary(p_positive >= 0.5, positive, whose)
    if any(row.is_graded for row in TASKS.values() if row.role is spec.role):
        found += risk(actual, p, whose)
    found += at_thresholds(p_positive, positive, thresholds, whose)
    if len(columns) > 1:
        of = {spec.labels[index]: actual == index for index in columns}
        found += each_called(p_positive >= point.doubtful_from, of, whose)
    found += balanced(p_positive, positive, thresholds)
    found += at_class_thresholds(spec, actual, p, whose)
    found += readers(spec, answers)
    return [
        *found,
        Figure.of("AUC, positive", est.auc(positive, p_positive, answers.patients)),
        Figure("calibration error", est.calibration_error(p_positive, positive)),
    ]


def each_called(
    said: NDArray[np.bool_], classes: Mapping[str, NDArray[np.bool_]], whose: Sequence[str]
) -> list[Figure]:
    """Return of each positive class by itself the share that is called, whatever it is called."""
    return [
        Figure.of(f"{label} called, doubtful or more", est.rate(said, these, whose))
        for label, these in classes.items()
        if these.any()
    ]


def by_group(spec: BundleSpec, answers: Answers, column: str, of: Sequence[str]) -> list[Figure]:
    """Return accuracy, AUC, recall and specificity of each group by itself.

    Parameters
    ----------
    spec, answers
        As for `figures`.
    column
        What the groups are called by.
    of
        (n,) each sample's group; samples of "" are in none. Groups of fewer than `FEWEST` are not
        judged; `too_small` names them.
    """
    columns, point = list(spec.positive_indices), spec.operating_point.doubtful_from
    found = []
    for name in sorted(set(of) - {""}):
        here = np.array([one == name for one in of])
        if here.sum() < FEWEST:
            continue
        actual, p = answers.actual[here], answers.probabilities[here]
        whose = [one for one, wanted in zip(answers.patients, here, strict=True) if wanted]
        positive, score = np.isin(actual, columns), p[:, columns].sum(1)
        said, suffix = score >= point, f", {column} {name}"
        found += [
            Figure(f"samples{suffix}", float(here.sum())),
            Figure.of(f"accuracy{suffix}", st.accuracy(actual, p.argmax(1), whose)),
            Figure.of(f"AUC, positive{suffix}", est.auc(positive, score, whose)),
            Figure.of(f"recall at doubtful_from{suffix}", est.rate(said, positive, whose)),
            Figure.of(f"specificity at doubtful_from{suffix}", est.rate(~said, ~positive, whose)),
        ]
    return found


def too_small(column: str, of: Sequence[str]) -> str:
    """Return the sentence on those groups that `by_group` does not judge; "" if it judges all."""
    counts = Counter(name for name in of if name)
    if not counts:
        return f"{column}: no sample has one"
    few = [f"{name} ({count})" for name, count in sorted(counts.items()) if count < FEWEST]
    if not few:
        return ""
    named = ", ".join(few[:_NAMED]) + (", ..." if len(few) > _NAMED else "")
    return (
        f"{column}: {len(few)} of {len(counts)} groups have fewer than {FEWEST} samples and are "
        f"not judged by themselves: {named}"
    )


def table(
    actual: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    labels: Sequence[str],
    patients: Sequence[str],
) -> list[Figure]:
    """Return Murphy's Table 1 and Figure 4, and the coverage at an accuracy of 0.95."""
    named = probabilities.argmax(1)
    found = [
        Figure.of("accuracy", st.accuracy(actual, named, patients)),
        Figure.of("kappa", st.kappa(actual, named, len(labels), patients)),
    ]
    for one in st.per_class(actual, named, labels, patients):
        found += [
            Figure.of(f"precision, {one.label}", one.precision),
            Figure.of(f"recall, {one.label}", one.recall),
            Figure.of(f"F1, {one.label}", one.f1),
        ]
    for index, label in enumerate(labels):
        area = est.auc(actual == index, probabilities[:, index], patients)
        found.append(Figure.of(f"AUC, {label}", area))
    covered, right = st.coverage_curve(probabilities, actual)
    enough = covered[right >= 0.95]
    found.append(Figure("coverage at accuracy 0.95", float(enough.max()) if enough.size else 0.0))
    return found


def binary(
    said: NDArray[np.bool_], positive: NDArray[np.bool_], patients: Sequence[str], suffix: str = ""
) -> list[Figure]:
    """Return six of Yamamoto's seven metrics (2.8); accuracy and AUC stand elsewhere."""
    return [
        Figure.of(f"precision{suffix}", est.rate(positive, said, patients)),
        Figure.of(f"recall{suffix}", est.rate(said, positive, patients)),
        Figure.of(f"specificity{suffix}", est.rate(~said, ~positive, patients)),
        Figure.of(f"npv{suffix}", est.rate(~positive, ~said, patients)),
        Figure.of(f"F1{suffix}", est.f1(said, positive, patients)),
    ]


def risk(
    actual: NDArray[np.int64], p: NDArray[np.float64], patients: Sequence[str]
) -> list[Figure]:
    """Return F1 with micro-averaging and the mean of the classes' AUCs (DXA 2023, Table 1).

    With one class for each sample, F1 over all classes together is the share named right.
    """
    areas = [est.area(actual == index, p[:, index]) for index in range(p.shape[1])]
    known = [one for one in areas if not np.isnan(one)]
    return [
        Figure.of("F1, micro", st.accuracy(actual, p.argmax(1), patients)),
        Figure("AUC, average", float(np.mean(known)) if known else float("nan")),
    ]


def at_thresholds(
    p_positive: NDArray[np.float64],
    positive: NDArray[np.bool_],
    thresholds: dict[str, float],
    patients: Sequence[str],
) -> list[Figure]:
    """Return recall, precision, specificity and accuracy at each threshold (Gale 2017, Table 3)."""
    found = []
    for name, threshold in thresholds.items():
        said = p_positive >= threshold
        found += [
            Figure.of(f"recall at {name}", est.rate(said, positive, patients)),
            Figure.of(f"precision at {name}", est.rate(positive, said, patients)),
            Figure.of(f"specificity at {name}", est.rate(~said, ~positive, patients)),
            Figure.of(f"accuracy at {name}", st.accuracy(positive, said, patients)),
            Figure.of(f"F1 at {name}", est.f1(said, positive, patients)),
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
    spec: BundleSpec, actual: NDArray[np.int64], p: NDArray[np.float64], patients: Sequence[str]
) -> list[Figure]:
    """Return what is left to the model, and how right it is there (Murphy 2022, Discussion)."""
    if not spec.class_thresholds:
        return []
    needed = np.array([spec.class_thresholds.get(label, 0.0) for label in spec.labels])
    named = p.argmax(1)
    kept = p.max(1) >= needed[named]
    every = np.ones(len(kept), bool)
    return [
        Figure.of("coverage at class thresholds", est.rate(kept, every, patients)),
        Figure.of("accuracy at class thresholds", est.rate(named == actual, kept, patients)),
    ]


def readers(spec: BundleSpec, answers: Answers) -> list[Figure]:
    """Return each reader against the truth and the model, and the readers against each other.

    References
    ----------
    Murphy 2022, "Expert agreement" (kappa between two experts, by class and by subclass),
    "Hospital diagnosis compared to expert classification", the comparison of both with CNN2, and
    whether what experts disagree on is hard for it (Discussion, chi-squared).
    Gale 2017, Table 3: precision, recall and F1 of the reports.
    """
    found, classes = [], len(spec.labels)
    whose, columns = np.asarray(answers.patients, str), list(spec.positive_indices)
    right = answers.probabilities.argmax(1) == answers.actual
    for name, said in answers.readers.items():
        spoke = said >= 0
        actual, own, patients = answers.actual[spoke], said[spoke], whose[spoke].tolist()
        suffix = f", reader {name}"
        found += [
            Figure.of(f"accuracy{suffix}", st.accuracy(actual, own, patients)),
            Figure.of(f"kappa{suffix}", st.kappa(actual, own, classes, patients)),
            Figure(
                f"p, model against reader {name}", st.compare_paired(right[spoke], own == actual)
            ),
            Figure(
                f"p, the same as independent proportions, reader {name}",
                st.compare_proportions(right[spoke], own == actual),
            ),
            *binary(np.isin(own, columns), np.isin(actual, columns), patients, suffix),
            *teaming(answers.probabilities[spoke], actual, own, patients, name),
        ]
    for (one, said), (other, more) in combinations(answers.readers.items(), 2):
        spoke = (said >= 0) & (more >= 0)
        if spoke.any():
            agreed = st.kappa(said[spoke], more[spoke], classes, whose[spoke].tolist())
            found.append(Figure.of(f"kappa, readers {one} and {other}", agreed))
            alike = st.independent(said[spoke] == more[spoke], right[spoke])
            name = f"p, readers {one} and {other} agree or not and the model is right or not"
            found.append(Figure(name, alike))
    for (one, named), (other, also) in combinations(answers.subclasses.items(), 2):
        spoke = (named != "") & (also != "")
        words, found_at = np.unique([named[spoke], also[spoke]], return_inverse=True)
        if len(words):
            first, second = found_at.reshape(2, -1)
            agreed = st.kappa(first, second, len(words), whose[spoke].tolist())
            found.append(Figure.of(f"kappa, readers {one} and {other}, by subclass", agreed))
    return found


def teaming(
    p: NDArray[np.float64],
    actual: NDArray[np.int64],
    said: NDArray[np.int64],
    patients: Sequence[str],
    name: str,
) -> list[Figure]:
    """Return how right model and reader are together: the model where it is sure, else the reader.

    Parameters
    ----------
    p, actual, said
        (n, classes) and (n,): the model's probabilities, the truth, what the reader said.
    patients, name
        (n,) whose it is, and the reader's name.

    References
    ----------
    Murphy 2022, Discussion: accuracy 95 % on the 87 % of images that the network is sure of,
    "leaving uncertain radiographs to be analysed by an expert".
    """
    sure, rest = p.max(1), round(len(p) * (1 - _SURE))
    alone = np.ones(len(p), bool)
    alone[np.argsort(sure, kind="stable")[:rest]] = False
    together = np.where(alone, p.argmax(1), said)
    return [
        Figure.of(
            f"accuracy, model on the surest {_SURE:.0%} and reader {name} on the rest",
            st.accuracy(actual, together, patients),
        )
    ]
