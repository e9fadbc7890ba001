"""Pictures of a run and of an evaluation, as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")  # before pyplot: there is no display

from matplotlib import pyplot as plt
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_curve

from hipnode.training.stats.statistics import coverage_curve

_MARKS: Final = "osD^"
Curve = tuple[str, NDArray[Any], NDArray[Any]]


def history(rows: Sequence[dict[str, float]], path: Path) -> None:
    """Draw loss and validation figures over the epochs."""
    names = [name for name in (rows[0] if rows else {}) if name not in {"epoch", "score"}]
    figure, axes = plt.subplots(1, max(1, len(names)), figsize=(4 * max(1, len(names)), 3))
    for axis, name in zip([axes] if len(names) < 2 else axes, names, strict=False):
        axis.plot([row["epoch"] for row in rows], [row[name] for row in rows])
        axis.set(xlabel="epoch", title=name)
        axis.grid(alpha=0.3)
    _save(figure, path)


def roc(
    actual: NDArray[Any],
    probabilities: NDArray[Any],
    labels: Sequence[str],
    path: Path,
    readers: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Draw a curve for each class (Murphy 2022, Figure 4), readers as points (Gale 2017, Figure 1).

    ``readers`` maps a name to (n,) class indices, -1 for nothing said.
    """
    figure, axis = plt.subplots(figsize=(4.5, 4.5))
    drawn = set()
    for index, label in enumerate(labels):
        if (actual == index).any() and (actual != index).any():
            false, true, _ = roc_curve(actual == index, probabilities[:, index])
            (line,) = axis.plot(false, true, label=label)
            for number, said in enumerate((readers or {}).values()):
                spoke = said >= 0
                is_it, called = actual[spoke] == index, said[spoke] == index
                if is_it.any() and not is_it.all():
                    at = called[~is_it].mean(), called[is_it].mean()
                    axis.plot(*at, _MARKS[number % len(_MARKS)], color=line.get_color(), ms=5)
                    drawn.add(number)
    for number, name in enumerate(readers or {}):
        if number in drawn:
            axis.plot([], [], "k" + _MARKS[number % len(_MARKS)], ms=5, label=f"reader {name}")
    axis.plot([0, 1], [0, 1], "k:", lw=0.8)
    axis.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")
    axis.legend()
    _save(figure, path)


def side_by_side(
    tasks: Mapping[str, Sequence[Curve]],
    readers: Mapping[str, Sequence[tuple[str, float, float]]],
    path: Path,
) -> None:
    """Draw each system's curve, a panel a task, and readers as points (Yamamoto 2020, Figure 3;
    Gale 2017, Figure 1).

    Parameters
    ----------
    tasks
        By name: of each system its name, who is positive (n,) and the score (n,).
    readers
        By task: name, false positive rate, true positive rate.
    path
        The PNG. Without a task none is written.
    """
    if not tasks:
        return
    count = len(tasks)
    figure, axes = plt.subplots(1, count, figsize=(6.5 * count, 6.5), squeeze=False)
    for axis, (task, systems) in zip(axes[0], tasks.items(), strict=True):
        for number, (name, positive, score) in enumerate(systems):
            false, true, _ = roc_curve(positive, score)
            axis.plot(false, true, label=name, lw=1, ls="-" if number < 10 else "--")
        for number, (name, false, true) in enumerate(readers.get(task, ())):
            axis.plot(false, true, "k" + _MARKS[number % len(_MARKS)], ms=5, label=name)
        axis.plot([0, 1], [0, 1], "k:", lw=0.8)
        axis.set(xlabel="false positive rate", ylabel="true positive rate", title=task)
        axis.legend(fontsize=7, loc="lower right")
    _save(figure, path)


def reliability(p_positive: NDArray[Any], positive: NDArray[Any], path: Path) -> None:
    """Draw how often what was said to be likely was so."""
    figure, axis = plt.subplots(figsize=(4.5, 4.5))
    share, said = calibration_curve(positive, p_positive.clip(0, 1), n_bins=10)
    axis.plot(said, share, "o-")
    axis.plot([0, 1], [0, 1], "k:", lw=0.8)
    axis.set(xlabel="P(positive)", ylabel="share that was", title="reliability")
    _save(figure, path)


def coverage(actual: NDArray[Any], probabilities: NDArray[Any], path: Path) -> None:
    """Draw accuracy against coverage (Murphy 2022, Discussion)."""
    figure, axis = plt.subplots(figsize=(4.5, 4.5))
    covered, right = coverage_curve(probabilities, actual)
    axis.plot(covered, right)
    axis.axhline(0.95, color="grey", lw=0.8, ls=":")
    axis.set(xlabel="coverage", ylabel="accuracy", title="accuracy against coverage")
    _save(figure, path)


def overlaps(j: NDArray[Any], fractured: NDArray[Any], path: Path) -> None:
    """Draw how the Jaccard index is distributed (Murphy 2022, Figure 2)."""
    figure, axis = plt.subplots(figsize=(4.5, 4.5))
    for name, which in (("unfractured", ~fractured), ("fractured", fractured)):
        if which.any():
            axis.hist(j[which], bins=20, range=(0, 1), alpha=0.6, density=True, label=name)
    axis.axvline(0.5, color="grey", lw=0.8, ls=":")
    axis.set(xlabel="Jaccard index", ylabel="density", title="boxes")
    axis.legend()
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
