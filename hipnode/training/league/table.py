"""A league's results as one file (``league.json``), as tables (``league.md``) and as curves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from hipnode.errors import InputRefused
from hipnode.training.judge.heat import NAMES
from hipnode.training.league.cells import PREDICTIONS, Cell, Measured, measured, predictions
from hipnode.training.league.elsewhere import recalibrated
from hipnode.training.league.files import write
from hipnode.training.league.findings import Outcome, Row, outcomes
from hipnode.training.league.page import page
from hipnode.training.league.yardsticks import three, yardsticks
from hipnode.training.recipe.published import PUBLISHED
from hipnode.training.stats import curves
from hipnode.training.stats.paired import Area, mean_area, trained_again

DOCUMENT: Final = "league.json"
PAGE: Final = "league.md"
CURVES: Final = "league.png"

Results = Sequence[Mapping[str, Any]]


def gather(
    every: Sequence[Cell], found: Mapping[str, Mapping[str, Any] | None], folder: Path
) -> dict[str, Any]:
    """Return all that the tables say, and write it to ``league.json``, ``.md`` and ``.png``.

    Parameters
    ----------
    every
        The league's cells.
    found
        By a cell's folder, what was found; None where it was not played. Without one that was,
        nothing is written, and the answer is empty.
    folder
        The league's.

    Raises
    ------
    InputRefused
        If rows of a task were tested on other patients.
    """
    cells = [cell for cell in every if found.get(cell.folder)]
    if not cells:
        return {}
    told: dict[str, dict[str, list[Measured]]] = defaultdict(lambda: defaultdict(list))
    figures: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    tested: dict[str, list[str]] = {}
    for cell in cells:
        result = found[cell.folder] or {}
        one = measured(folder / result["report"], cell)
        if tested.setdefault(cell.task.name, one.patients) != one.patients:
            raise InputRefused(f"{cell.folder} is of other test patients than other rows")
        told[cell.task.name][cell.system].append(one)
        figures[cell.task.name, cell.system].append(
            {**result, **_recalibrated(folder, result, cell)}
        )
    document: dict[str, Any] = {"profile": cells[0].profile.name, "tasks": {}}
    tasks = {cell.task.name: cell.task for cell in cells}
    for task, systems in told.items():
        rows = [
            _row(tasks[task].of, name, [one.area for one in seeds], figures[task, name])
            for name, seeds in systems.items()
        ]
        document["tasks"][task] = {
            "of": tasks[task].of,
            "patients": len(set(tested[task])),
            "samples": len(tested[task]),
            "rows": sorted(rows, key=lambda row: -row["value"][0]),
            "yardsticks": yardsticks(tasks[task], folder),
        }
    played = {
        task: {name: _together(seeds) for name, seeds in systems.items()}
        for task, systems in told.items()
        if tasks[task].of == "findings"
    }
    document["findings"] = [_finding(one) for one in outcomes(played)]
    write(folder / DOCUMENT, document)
    write(folder / PAGE, page(document))
    which = {(cell.task.name, cell.system): cell for cell in reversed(cells)}
    curves.side_by_side(
        {
            task: [
                _curve(name, _positive(which[task, name]), told[task][name])
                for name in (row["system"] for row in document["tasks"][task]["rows"])
            ]
            for task in played
        },
        {
            task: [
                (one["name"], 1 - one["specificity"], one["recall"])
                for one in document["tasks"][task]["yardsticks"]
                if "recall" in one
            ]
            for task in played
        },
        folder / CURVES,
    )
    return document


def _recalibrated(folder: Path, result: Mapping[str, Any], cell: Cell) -> dict[str, Any]:
    """Return what a cell's report says of another hospital, where one was asked about."""
    report = folder / result["report"] / "external"
    if not (report / PREDICTIONS).exists():
        return {}
    actual, p, _ = predictions(report, cell.recipe.labels)
    both = recalibrated(actual, p, cell.recipe.positive_indices)
    return {"recalibrated": dict(zip(("before", "after"), both, strict=True)) if both else {}}


def _together(seeds: Sequence[Measured]) -> Row:
    p = np.mean([one.p for one in seeds], axis=0)
    return Row([one.area for one in seeds], p.argmax(1) == seeds[0].actual)


def _positive(cell: Cell) -> list[int]:
    """Return the classes whose sum of probabilities makes the curve: of three risks, the high."""
    indices = cell.recipe.positive_indices
    return indices if cell.task.name != "risk" else indices[-1:]


def _curve(name: str, positive: Sequence[int], seeds: Sequence[Measured]) -> curves.Curve:
    p = np.mean([one.p for one in seeds], axis=0)[:, positive].sum(1)
    return name, np.isin(seeds[0].actual, positive), p


def _row(of: str, name: str, seeds: Sequence[Area], results: Results) -> dict[str, Any]:
    first, values = results[0], [one.value for one in seeds]
    found, printed = mean_area(seeds).estimate, PUBLISHED.get(name, {})

    def mean(figure: str, where: str = "figures") -> float | None:
        """Return a figure's mean over seeds; None where one of them has none."""
        each = [one.get(where, {}).get(figure) for one in results]
        known = [value for value in each if value is not None and np.isfinite(value)]
        return round(float(np.mean(known)), 3) if len(known) == len(each) else None

    row: dict[str, Any] = {
        "system": name,
        "seeds": len(seeds),
        "parameters": first["parameters"],
        "size_px": first["size_px"],
        "images": first["images"],
        "learned_s": round(float(np.mean([one["learned_s"] for one in results]))),
        "served_ms": first["served_ms"],
        "value": three(found),
        "seed_sd": round(float(np.std(values, ddof=1)), 3) if len(values) > 1 else None,
        "low_over_seeds": round(trained_again(seeds).estimate.low, 3),
    }
    if of == "boxes":
        return row | {
            "fractured": mean("mean Jaccard, fractured"),
            "above_half": mean("Jaccard above 0.5"),
            "adequate": mean("adequate boxes"),
            "printed": {
                one: printed[one] for one in ("mean Jaccard", "adequate boxes") if one in printed
            },
        }
    row |= {"accuracy": mean("accuracy")}
    if of == "gates":
        named = ("accuracy", "precision", "recall")
        more = {"precision": mean("precision"), "recall": mean("recall")}
        return row | more | {"printed": {one: printed[one] for one in named if one in printed}}
    heat = (mean(figure) for figure in NAMES.values())
    area = printed.get("AUC, positive", printed.get("AUC, average", ""))
    right = printed.get("accuracy", printed.get("F1, micro", ""))
    return row | {
        "calibration_error": mean("calibration error"),
        "heat": next((one for one in heat if one is not None), None),
        "elsewhere": mean("AUC, positive", "elsewhere"),
        "accuracy_elsewhere": mean("before", "recalibrated"),
        "recalibrated": mean("after", "recalibrated"),
        "printed": {k: v for k, v in (("AUC", area), ("accuracy", right)) if v},
    }


def _finding(one: Outcome) -> dict[str, Any]:
    return {
        "paper": one.finding.paper,
        "claim": one.finding.claim,
        "printed": one.finding.printed,
        "difference": three(one.difference),
        "p": float(f"{one.p:.2g}"),
        "accuracy": None if one.accuracy is None else round(one.accuracy, 3),
        "p_accuracy": None if one.p_accuracy is None else float(f"{one.p_accuracy:.2g}"),
        "few_seeds": one.few_seeds,
        "outcome": one.word,
    }
